"""A data set explained shard by shard, on this machine or on Ray, so that it can be resumed."""

from onnxlrp.distribute.items import Item, Shard, list_items
from onnxlrp.distribute.job import Job, Receipt
from onnxlrp.distribute.plan import Plan
from onnxlrp.distribute.run import Summary, check_folder, run
from onnxlrp.distribute.shard import Tools, explain_shard

__all__ = [
    "Item",
    "Job",
    "Plan",
    "Receipt",
    "Shard",
    "Summary",
    "Tools",
    "check_folder",
    "explain_shard",
    "list_items",
    "run",
]
