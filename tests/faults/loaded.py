"""What each life needs, loaded once."""

from ram_tf import (  # noqa: F401
    cli,
    evaluation,
    export,
    prediction,
    proposals,
    references,
    results,
    run_splits,
    training,
)
