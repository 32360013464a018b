"""The descriptions of the built-in networks: families/X.py describes those of networks/X.py.

Nothing here imports torch. A description is a Family with the name of its network in capitals."""
