"""Execution of studies: plans, backends, costs and the search for a frontier."""
