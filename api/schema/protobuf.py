#!/usr/bin/env python3
"""Writes protobuf.txt: the field numbers of Kubernetes' protobuf messages, by which bodies of
`application/vnd.kubernetes.protobuf` are read, from the source of the crate k8s-pb (its path is the only argument).

A line is a message: its name as in types.txt, then `field=number`. A field of a message that JSON has no member for,
because Go embeds its struct, is `field=number:message`.

usage: protobuf.py ~/.cargo/registry/src/*/k8s-pb-0.9.0
"""
import os, re, sys

HERE = os.path.dirname(os.path.abspath(__file__))


def camel(rust):
    """`pod_ip` → `podip`: names are compared without case, as Go's initialisms are not Rust's."""
    return re.sub(r'^r#', '', rust).replace('_', '').lower()


def read_json_types():
    """type → {name without case: name}, from types.txt."""
    types, fields = {}, None
    for line in open(os.path.join(HERE, 'types.txt')):
        words = line.split()
        if line.startswith('@'):
            fields = types.setdefault(words[0][1:], {})
        else:
            fields[words[0].lower()] = words[0]
    return types


def read_messages(source):
    """message → [(rust name, rust type, number)], by the last parts of their modules."""
    messages = {}
    for folder, _, files in sorted(os.walk(os.path.join(source, 'src'))):
        for file in sorted(files):
            path = os.path.relpath(os.path.join(folder, file), os.path.join(source, 'src'))
            module = [p for p in path.split(os.sep)[:-1]]
            text = open(os.path.join(folder, file)).read()
            for name, body in re.findall(r'pub struct (\w+) \{\n(.*?)\n\}', text, re.S):
                found = re.findall(r'#\[prost\(([^\]]*?)\)\]\s+pub ([\w#]+):\s+(.+?),?\s*(?=///|#\[|\Z)', body, re.S)
                fields = [(f, re.sub(r'\s', '', t), int(re.search(r'tag = "(\d+)"', a).group(1))) for a, f, t in found]
                messages['.'.join(module[-2:] + [name])] = (module, fields)
    return messages


def target(module, rust):
    """The message that a field's Rust type names, with its module resolved."""
    inner = re.sub(r'.*?<(.*)>$', r'\1', rust)
    parts = inner.split('::')
    place = list(module)
    while parts and parts[0] == 'super':
        place.pop()
        parts.pop(0)
    return '.'.join((place + parts)[-3:])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    types, messages = read_json_types(), read_messages(sys.argv[1])
    # Rust has its own way with initialisms in the names of types, too.
    by_name = {message.lower(): message for message in messages}
    lines, todo, done = [], [(by_name[t.lower()], t) for t in types if t.lower() in by_name], set()
    while todo:
        message, json_type = todo.pop()
        if message in done:
            continue
        done.add(message)
        module, fields = messages[message]
        names, words = types[json_type], []
        for rust, rust_type, number in fields:
            name = names.get(camel(rust))
            if name:
                words.append(f'{name}={number}')
            elif target(module, rust_type) in messages:
                embedded = target(module, rust_type)
                words.append(f'{camel(rust)}={number}:{embedded}')
                todo.append((embedded, json_type))
        name = json_type if json_type.lower() == message.lower() else message
        lines.append(' '.join([name] + words))
    with open(os.path.join(HERE, 'protobuf.txt'), 'w') as out:
        out.write('\n'.join(sorted(lines)) + '\n')


main()
