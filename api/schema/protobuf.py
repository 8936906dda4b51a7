#!/usr/bin/env python3
"""Writes protobuf.txt: the field numbers of Kubernetes' protobuf messages, by which bodies of
`application/vnd.kubernetes.protobuf` are read, from the `generated.proto` and `types.go` of the folder `k8s.io` that is
the only argument: it holds `api`, `apimachinery`, `apiextensions-apiserver` and `kube-aggregator` of one release.
What no file there speaks of keeps its lines.

A line is a message: its name as in types.txt, then `field=number`. A field of a message that JSON has no member for,
because Go embeds its struct, is `field=number:message`.

usage: protobuf.py …/staging/src/k8s.io
"""
import os, re, sys

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, 'protobuf.txt')
FIELD = re.compile(r'^\s*(?:optional|repeated)?\s*(map<[^>]*>|[\w.]+)\s+(\w+)\s*=\s*(\d+);', re.M)
TAG = re.compile(r'json:"([^",]*)[^`]*?protobuf:"\w+,(\d+),')


def read_json_types():
    """type → its names in JSON, from types.txt."""
    types, fields = {}, None
    for line in open(os.path.join(HERE, 'types.txt')):
        words = line.split()
        if line.startswith('@'):
            fields = types.setdefault(words[0][1:], set())
        else:
            fields.add(words[0])
    return types


def read_messages(source):
    """message → [(name, type, number)], by the last parts of its package."""
    messages, files = {}, []
    for folder, _, names in sorted(os.walk(source)):
        if 'generated.proto' in names:
            files.append(folder)
    for folder in files:
        text = re.sub(r'//.*', '', open(os.path.join(folder, 'generated.proto')).read())
        package = '.'.join(re.search(r'^package (\S+);', text, re.M)[1].split('.')[-2:])
        for name, body in re.findall(r'^message (\w+) \{\n(.*?)^\}', text, re.S | re.M):
            short = lambda type_: '.'.join(type_.split('.')[-3:]) if '.' in type_ else f'{package}.{type_}'
            fields = [(field, short(type_), int(number)) for type_, field, number in FIELD.findall(body)]
            messages[f'{package}.{name}'] = (folder, name, fields)
    return messages


def json_names(folder, struct):
    """number → name in JSON, of the fields of a Go struct; an empty one of what is embedded."""
    for file in sorted(os.listdir(folder)):
        if file.startswith('types') and file.endswith('.go'):
            body = re.search(rf'^type {struct} struct \{{\n(.*?)^\}}', open(os.path.join(folder, file)).read(), re.S | re.M)
            if body:
                return {int(number): name for name, number in TAG.findall(body[1])}
    return {}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    types, messages = read_json_types(), read_messages(sys.argv[1])
    lines = {line.split()[0]: line.strip() for line in open(OUT)}
    todo, done = [(t, t) for t in types if t in messages], set()
    while todo:
        message, json_type = todo.pop()
        if message in done:
            continue
        done.add(message)
        folder, struct, fields = messages[message]
        names, words = json_names(folder, struct), []
        for proto, type_, number in fields:
            name = names.get(number, proto)
            if name in types[json_type]:
                words.append(f'{name}={number}')
            elif not name and type_ in messages:
                words.append(f'{proto}={number}:{type_}')
                todo.append((type_, json_type))
        lines[message] = ' '.join([message] + words)
    with open(OUT, 'w') as out:
        out.write('\n'.join(lines[name] for name in sorted(lines)) + '\n')


main()
