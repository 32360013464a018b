"""The types of the names of depthbench.plugins, which __init__.py imports when they are first used."""

from depthbench.data.images import Images as Images
from depthbench.data.images import problem_of_images as problem_of_images
from depthbench.errors import BadInput as BadInput
from depthbench.execution.plugin_checks import check_plugin as check_plugin
from depthbench.networks.family import DepthList as DepthList
from depthbench.networks.family import DepthRule as DepthRule
from depthbench.networks.family import Family as Family
from depthbench.networks.family import Structure as Structure
from depthbench.networks.layers import Layer as Layer
from depthbench.networks.layers import weighted_layers as weighted_layers
from depthbench.plugins.loading import load_plugin as load_plugin
from depthbench.probes.probe import Probe as Probe
from depthbench.registry import Entry as Entry
from depthbench.report.entries import ReportFigure as ReportFigure
from depthbench.report.entries import ReportTable as ReportTable
from depthbench.report.entries import Table as Table
from depthbench.report.evidence import Evidence as Evidence
from depthbench.report.style.palette import depth_colours as depth_colours
from depthbench.report.style.palette import network_looks as network_looks
from depthbench.report.style.tags import Series as Series
from depthbench.report.style.tags import describe as describe
from depthbench.training.optimizers import Optimizer as Optimizer
