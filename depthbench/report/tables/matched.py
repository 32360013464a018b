"""The closest network of each network without a twin, and what differs."""

from depthbench.networks import NETWORKS
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence

NOTE = (
    "These networks have no twin, that is, no network with the same parameters that differs only in its "
    "residual connections. The table says which network comes closest, and what differs between the two. "
    "A difference in error from another network also reflects what is not matched."
)


def build(evidence: Evidence) -> Table | None:
    """Build the table, or return None if every network has a twin or is that of a plug-in."""
    runs = evidence.runs
    networks = runs[["network", "family"]].drop_duplicates()
    matched = {name: family.matched for name, family in NETWORKS.items() if family.matched}
    table = networks[networks["family"].isin(matched)].reset_index(drop=True)
    if table.empty:
        return None
    table["matched with"] = table["family"].map(matched)
    return Table(NOTE, table, table)


TABLE = ReportTable(build, title="Networks without a twin", chapter="training")
