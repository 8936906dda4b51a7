#!/usr/bin/env python3
"""Makes named.tsv: what Go calls the types of fields that are neither structs nor plain.

    named.py GOCODE/src/k8s.io > named.tsv

A row is a type of types.txt, a field, and the Go type of the field without pointers, as the decoder's errors name it:
`core.v1.PodSpec	restartPolicy	v1.RestartPolicy`. Source: the declarations in k8s.io/api and k8s.io/apimachinery.
"""

import pathlib
import re
import sys

PLAIN = {"string", "bool", "int32", "int64", "float64", "byte", "int", "uint8"}


def graph():
    """The fields of each type of types.txt."""
    types = {}
    for line in (pathlib.Path(__file__).parent / "types.txt").read_text().splitlines():
        first = line.split()[0]
        if line.startswith("@"):
            fields = types.setdefault(first[1:], set())
        else:
            fields.add(first)
    return types


def folders(root):
    """The folder of each group and version of the graph."""
    yield "meta.v1", root / "apimachinery/pkg/apis/meta/v1"
    yield "apiextensions.v1", root / "apiextensions-apiserver/pkg/apis/apiextensions/v1"
    for folder in sorted((root / "api").glob("*/v*")):
        yield f"{folder.parent.name}.{folder.name}", folder


def declarations(folder):
    """The types of a folder: structs as lists of fields, others as what they stand for."""
    structs, named = {}, {}
    for file in sorted(folder.glob("*types*.go")):
        lines = [re.sub(r"\s+//.*$", "", line) for line in file.read_text().splitlines()]
        at = 0
        while at < len(lines):
            if match := re.match(r"type (\w+) struct \{", lines[at]):
                fields = []
                while not lines[at].startswith("}"):
                    at += 1
                    field = re.match(r'\s+(?:(\w+)\s+)?(\S+)\s+`.*json:"([^",]*)(,inline)?', lines[at])
                    if field:
                        fields.append((field[3], field[2]))
                structs[match[1]] = fields
            elif match := re.match(r"type (\w+) ([\w\[\]\.\*]+)$", lines[at]):
                named[match[1]] = match[2]
            at += 1
    return structs, named


def main(root):
    all_of = {version: declarations(folder) for version, folder in folders(root)}
    aliases = {"metav1": "meta.v1", "corev1": "core.v1", "v1": "core.v1"}

    def split(version, name):
        package, _, last = name.rpartition(".")
        return (aliases.get(package, package) if package else version), last

    def go_name(version, go):
        """What Go prints, and whether that is other than what the graph says."""
        go = go.lstrip("*")
        if go.startswith("[]"):
            inner, other = go_name(version, go[2:])
            return f"[]{inner}", other
        if match := re.match(r"map\[([\w\.]+)\](.+)", go):
            key, key_other = go_name(version, match[1])
            value, other = go_name(version, match[2])
            return f"map[{key}]{value}", key_other or other
        if go in PLAIN:
            return ("uint8" if go == "byte" else go), False
        home, last = split(version, go)
        if home == "types":
            return f"types.{last}", True
        if home in all_of:
            structs, named = all_of[home]
            return f"{home.rpartition('.')[2]}.{last}", last in named and last not in structs
        return go, False

    fields = graph()
    for version, (structs, _) in all_of.items():
        def rows(home, name):
            for key, go in all_of[home][0].get(name, []):
                if key:
                    shown, other = go_name(home, go)
                    if other:
                        yield key, shown
                else:
                    yield from rows(*split(home, go.lstrip("*")))
        for name in sorted(structs):
            for key, shown in sorted(set(rows(version, name))):
                if key in fields.get(f"{version}.{name}", ()):
                    print(f"{version}.{name}\t{key}\t{shown}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
