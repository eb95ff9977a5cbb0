"""Rows in, text or pictures out."""
