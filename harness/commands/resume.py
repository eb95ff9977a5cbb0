"""``harness resume``."""

from __future__ import annotations

import click

from pocketzoo import command


@click.command()
@click.argument("campaign_id", metavar="[ID]", required=False)
@click.option("--retry-failed", is_flag=True, help="Also measure again the cells that failed.")
@click.option("--certs", metavar="DIR", help="Of a campaign on a farm: certificates of this machine.")
@click.option("--wait", type=float, default=0.0, metavar="S", help="Of a campaign on a farm: as for run.")
@click.option("--away", type=float, default=None, metavar="S", help="Of a campaign on a farm: as for run.")
@command.reporting_options
def resume(
    campaign_id: str | None, retry_failed: bool, certs: str | None, wait: float, away: float | None, as_json: bool
) -> None:
    """Measure exactly what is missing of a campaign; of the last one where no ID is given.

    Cells whose device was lost are tried again. Cells that failed by themselves are not, unless --retry-failed.
    """
    import msgspec

    from harness.campaign import check_devices
    from harness.commands.carrying import FarmOptions, carry, chosen, ended_in
    from harness.request import Request
    from harness.results import Results
    from pocketzoo.errors import WorkFailed

    results = Results()
    campaign = chosen(results, campaign_id)
    try:
        request = msgspec.convert(campaign.request, Request)
    except msgspec.ValidationError as error:
        raise WorkFailed(f"the stored campaign {campaign.id} is not understood: {error}") from error
    found = ended_in(campaign, results.wanted(campaign.id), results, request)
    failed = {} if retry_failed else {key: m for key, m in found.items() if m.verdict.name == "failed"}
    if campaign.state == "done" and not (retry_failed and any(m.verdict.name == "failed" for m in found.values())):
        command.say(f"nothing is missing of campaign {campaign.id}\nnext: harness results")
        if as_json:
            from harness.listing import cell_record

            command.print_json([cell_record(m, reused=True) for m in found.values()])
        return
    if request.farm is None:
        check_devices(request)
    command.say(f"campaign {campaign.id}")
    carry(request, campaign, results, as_json=as_json, failed=failed, farm=FarmOptions(certs, wait, away))
