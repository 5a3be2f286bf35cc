"""`python -m ram_tf` is the command `ram-tf`."""

from ram_tf.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
