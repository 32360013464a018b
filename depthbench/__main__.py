"""python -m depthbench"""

from depthbench.cli import main

main()
