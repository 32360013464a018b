"""python -m depthbench, and the console script."""

import sys


def main() -> None:
    """The command line. A Ctrl-C while it is being imported is one too."""
    try:
        from depthbench.cli import app as cli
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
