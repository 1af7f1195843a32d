"""python -m edgedx, which torchrun needs."""

from edgedx.cli.app import main

if __name__ == "__main__":
    main()
