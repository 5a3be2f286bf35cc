"""Tests the scripts under faults such as kills and full disks, one module per kind.

`run` is the command. Each `case.Case` uses a `workspace.Workspace`, which has an
undisturbed run to compare with and starts the scripts (`program`).

`mutations` is a suite of its own: faults in the code that a test must notice.
"""
