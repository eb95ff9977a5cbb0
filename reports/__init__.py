"""How it is told: tables, plots and pages made from what the zoo and the results database hold.

    gather (reads) -> cells, compare -> tables (records in, rows out) -> render (rows in, text out) -> build (writes)

Nothing here measures, and nothing here changes a record.
"""
