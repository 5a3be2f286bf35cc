"""Tells griffe, which reads the code for the reference, what it does not know of ours.

`mkdocs.yml` names this file as an extension.
"""

import re

import griffe

# Patterns of our docstrings, and the same as griffe and Markdown have it: headings of
# sections, the line before code, a table of names, an example outside a section.
WORDS = {
    r"^Call arguments:$": "Other Parameters: Call arguments:",
    r"^Example:$": "Examples:",
    r"::$": ":",
    r"(^(?!>>>|\.\.\.)\S.* {2}\S.*(\n {8}.*)*\n?){2,}": "```text\n\\g<0>\n```\n",
    r"^>>> .*(\n.+)*": "```pycon\n\\g<0>\n```",
}


class Docstrings(griffe.Extension):
    """Gives named tuples their arguments, and docstrings the words of griffe."""

    def on_class(self, *, cls, **_):
        if not any(str(base).endswith("NamedTuple") for base in cls.bases):
            return
        fields = [
            griffe.Parameter(
                attribute.name,
                annotation=attribute.annotation,
                default=attribute.value,
                kind=griffe.ParameterKind.positional_or_keyword,
            )
            for attribute in cls.attributes.values()
        ]
        parameters = griffe.Parameters(griffe.Parameter("self"), *fields)
        cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))

    def on_object(self, *, obj, **_):
        if obj.docstring:
            for ours, theirs in WORDS.items():
                found = re.sub(ours, theirs, obj.docstring.value, flags=re.M)
                obj.docstring.value = found
