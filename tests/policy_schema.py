#!/usr/bin/env python3
"""The JSON Schemas of policies, by another validator: what ships is valid, and what is broken in its shape is not.

What only `evenkeel policy lint` can know is listed here by name: a schema knows no ranges of durations, no other documents,
and nothing of what fields say to each other. Exit 0: all held, 1: not.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import virtual

PACKAGES = ["jsonschema==4.26.0", "PyYAML==6.0.3"]
HERE = Path(__file__).resolve().parent
EVENKEEL = os.environ.get("EVENKEEL_BIN", str(HERE.parent / "target/release/evenkeel"))
NO_YAML = {"01", "02", "03", "04", "05", "06", "07", "08"}
NO_SHAPE = {
    "twice, or elsewhere": {"20", "31", "41", "45", "71", "72"},
    "a range": {"27", "28", "29", "35", "36", "40", "43", "47", "49", "57", "63", "89"},
    "fields to each other": {"38", "48", "51", "53", "54", "56", "58", "61", "80", "81", "83", "86", "93", "94", "95",
                             "96", "97", "100", "102"},
    "a condition": {"73", "74", "75", "76", "77", "78", "101"},
}


def main():
    import jsonschema
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain words as YAML 1.2 has them: no dates, no yes and no, no fractions."""
        yaml_implicit_resolvers = {}

    for tag, pattern, first in [("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
                                ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
                                ("int", r"^[-+]?[0-9]+$", "-+0123456789")]:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", yaml.resolver.re.compile(pattern), list(first))

    def schema(*kind):
        found = json.loads(subprocess.run([EVENKEEL, "policy", "schema", *kind], check=True, capture_output=True).stdout)
        jsonschema.Draft202012Validator.check_schema(found)
        return jsonschema.Draft202012Validator(found)

    of_all, documents = schema(), 0
    for path in sorted((HERE / "policies/shop").glob("*.yaml")):
        for document in yaml.load_all(path.read_text(), Loader):
            for validator in (of_all, schema(document["kind"])):
                wrong = [error.message for error in validator.iter_errors(document)]
                assert not wrong, f"{path.name}: {wrong}"
            documents += 1
    unseen, broken = set().union(*NO_SHAPE.values()), 0
    for path in sorted((HERE / "policies/broken").glob("*.yaml")):
        number = path.name.split("-")[0]
        if number in NO_YAML:
            continue
        valid = all(of_all.is_valid(document) for document in yaml.load_all(path.read_text(), Loader))
        assert valid == (number in unseen), f"{path.name}: {'valid' if valid else 'not valid'}"
        broken += not valid
    print(f"well: {documents} documents are valid, {broken} broken ones are not; {len(unseen)} only lint can know")


if __name__ == "__main__":
    if not virtual.inside():
        run = virtual.runner("venv-schema", PACKAGES)
        sys.exit(run(__file__) if run else 0)
    main()
