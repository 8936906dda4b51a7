#!/usr/bin/env python3
"""Writes types.txt, the type graph that `coracle_api::schema` reads, from three sources:

  1. the source of the crate k8s-openapi (its path is the only argument), for the types, their fields and the order
     in which they are encoded: every type reachable from a kind that has `ObjectMeta`, and a few that have none;
  2. keys.tsv, Kubernetes' own list types, list keys, patch strategies and merge keys;
  3. go.tsv, for what an OpenAPI document doesn't say: whether a field is a pointer in Kubernetes' Go type, and so
     whether its zero value is written.

and openapi.txt, what is published of the types (openapi.py).

usage: generate.py ~/.cargo/registry/src/*/k8s-openapi-0.29.0 [--optional]   (--optional lists what go.tsv may name)
"""
import collections, os, re, sys

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = 'v1_36'
EXTRA = ['meta.v1.DeleteOptions', 'meta.v1.Status']
SCALARS = {
    'std::string::String': 's', 'bool': 'b', 'i32': 'i', 'i64': 'l', 'f64': 'f', 'crate::ByteString': 'y',
    'crate::apimachinery::pkg::api::resource::Quantity': 'q',
    'crate::apimachinery::pkg::apis::meta::v1::Time': 't',
    'crate::apimachinery::pkg::apis::meta::v1::MicroTime': 'u',
    'crate::apimachinery::pkg::util::intstr::IntOrString': 'x',
    'crate::apimachinery::pkg::runtime::RawExtension': 'j',
    'crate::apimachinery::pkg::apis::meta::v1::FieldsV1': 'j',
    'crate::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON': 'j',
}


def short(path):
    """`crate::api::core::v1::Pod` and `io.k8s.api.core.v1.Pod` are both `core.v1.Pod`."""
    return '.'.join(re.split(r'::|\.', path)[-3:])


def expression(rust):
    """The one-word type expression of a Rust type: `[` list of, `{` map to, `#` reference."""
    for wrapper in ('Option<', 'std::boxed::Box<'):
        if rust.startswith(wrapper):
            return expression(rust[len(wrapper):-1])
    if rust.startswith('std::vec::Vec<'):
        return '[' + expression(rust[len('std::vec::Vec<'):-1])
    if rust.startswith('std::collections::BTreeMap<'):
        return '{' + expression(rust[len('std::collections::BTreeMap<'):-1].split(', ', 1)[1])
    return SCALARS.get(rust) or '#' + short(rust)


def read_types(source):
    """name → fields as (json name, rust type), in the order of encoding; and the names of those with ObjectMeta."""
    types, roots = collections.OrderedDict(), []
    for folder, _, files in sorted(os.walk(os.path.join(source, 'src', VERSION))):
        for file in sorted(files):
            text = open(os.path.join(folder, file)).read()
            head = re.search(r'// Generated from definition (\S+)', text)
            body = re.search(r'pub struct (\w+) \{\n(.*?)\n\}', text, re.S)
            if not head:
                continue
            name = short(head.group(1))
            if not body:
                types[name] = None  # an alternative of JSON forms, taken as any JSON
                continue
            rust = dict(re.findall(r'^    pub (\w+): (.+),$', body.group(2), re.M))
            encoder = text[text.index('impl crate::serde::Serialize for'):]
            fields = []
            pattern = r'(?:if let Some\(value\) = &self\.(\w+) \{\s*)?crate::serde::ser::SerializeStruct::serialize_field\(&mut state, "([^"]+)", ([^)]+)\)'
            for optional, key, value in re.findall(pattern, encoder):
                if key in ('apiVersion', 'kind') and value.startswith('<Self'):
                    fields.append((key, 'std::string::String'))
                else:
                    fields.append((key, rust[optional or value.removeprefix('&self.')]))
            types[name] = fields
            if any(k == 'metadata' and r.endswith('v1::ObjectMeta') for k, r in fields) and 'impl crate::Resource for' in text:
                roots.append(name)
    return types, roots


def read_keys():
    fields, whole = {}, set()
    with open(os.path.join(HERE, 'keys.tsv')) as file:
        next(file)
        for line in file:
            type_, field, list_type, keys, strategy, merge_key, map_type = (line.rstrip('\n').split('\t') + [''] * 7)[:7]
            if field:
                fields[short(type_), field] = (list_type, keys, strategy, merge_key, map_type)
            else:
                whole.add(short(type_))
    return fields, whole


def read_go():
    """(type, field) → p (pointer), o (value, left out when zero), v (value, always written) or n (pointer, always written)."""
    kinds = {}
    with open(os.path.join(HERE, 'go.tsv')) as file:
        for line in file:
            if line.strip() and not line.startswith('#'):
                type_, kind, names = line.rstrip('\n').split('\t')
                for name in names.split():
                    kinds[type_, name] = kind
    return kinds


def go_kind(rust):
    """The rule that holds where go.tsv is silent."""
    if not rust.startswith('Option<'):
        return 'v'
    e = expression(rust)
    return 'o' if e[0] in '[{' or e in ('s', 'b', 'i', 'l', 'f', 'y') else 'p'


def presence(name, key, rust, is_kind, go):
    """p, o or v of a field: see go.tsv. The spec and the status of a kind are values."""
    if is_kind and key in ('spec', 'status'):
        return 'v'
    if not rust.startswith('Option<'):
        return go.get((name, key), 'v')
    return go.get((name, key)) or go.get(('*', key), go_kind(rust))


def reachable(types, roots):
    found, queue = set(), list(roots)
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        for _, rust in types[name] or []:
            e = expression(rust).lstrip('[{')
            if e[0] == '#':
                queue.append(e[1:])
    return sorted(n for n in found if types[n] is not None)


def main():
    types, roots = read_types(sys.argv[1])
    keys, whole = read_keys()
    go = read_go()
    names = reachable(types, roots + EXTRA)
    used = set()
    out = []
    for name in names:
        out.append('@' + name + (' atomic' if name in whole else ''))
        for key, rust in types[name]:
            e = expression(rust)
            bare = e.lstrip('[{')
            if bare[0] == '#' and types[bare[1:]] is None:
                e = e[:len(e) - len(bare)] + 'j'
            kind = presence(name, key, rust, name in roots, go)
            used |= {(name, key), ('*', key)}
            if key in ('apiVersion', 'kind') and rust == 'std::string::String' and (name, key) not in go:
                kind = 'o'
            list_type, list_keys, strategy, merge_key, map_type = keys.get((name, key), ('',) * 5)
            line = f'{key} {e} {kind}'
            extra = [f'list={list_type}' if list_type else '', f'keys={list_keys}' if list_keys else '',
                     f'patch={strategy}' if strategy else '', f'merge={merge_key}' if merge_key else '',
                     f'map={map_type}' if map_type else '']
            out.append(' '.join([line] + [x for x in extra if x]))
    if '--optional' in sys.argv:
        for name in names:
            rows = [f'{k}:{expression(r)}' for k, r in types[name] if r.startswith('Option<') and not expression(r)[0] in '[{']
            if rows:
                print(name, ' '.join(rows))
        return
    for row in sorted(set(go) - used):
        sys.exit(f'go.tsv names {row}, which does not exist')
    with open(os.path.join(HERE, 'types.txt'), 'w') as file:
        file.write('\n'.join(out) + '\n')


if __name__ == '__main__':
    main()
    import openapi
    openapi.write(sys.argv[1])
