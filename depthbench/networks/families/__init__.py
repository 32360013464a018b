"""The descriptions of the built-in networks: families/X.py describes those of networks/X.py.

Nothing here imports torch. A description is a Family that is named like its network in NETWORKS."""
