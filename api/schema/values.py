#!/usr/bin/env python3
"""Writes values.tsv: which texts a field can be, and what it is when it is not given, as the OpenAPI documents say it.

usage: values.py FOLDER    (where the Go source of k8s.io/{api,apimachinery,apiextensions-apiserver} lies)

Read from the types of k8s.io/api: a type of text marked `+enum` can be what the constants of that type are; `+default`
stands with a field. The rows:

    enum      TYPE  VALUE  what it means
    field     TYPE  FIELD  the type of text that it is, or that its elements are
    default   TYPE  FIELD  JSON
    list      TYPE  `about`, `items` or `metadata`  what a type of lists says of itself and of these fields
    order     TYPE  (nothing)  the fields that are always written, in their order, where that is not the alphabet's
    union     TYPE  the field that says which of the others is there, if one does  FIELD:what it then says, …

Source: kube-openapi's `generators/enum.go` and `openapi.go`.
"""
import json, os, re, sys

HERE = os.path.dirname(os.path.abspath(__file__))
PLACES = [('api', ''), ('apimachinery/pkg/apis/meta', 'meta.'),
          ('apiextensions-apiserver/pkg/apis/apiextensions', 'apiextensions.')]


def packages(root):
    """(name, text of its types) of every package: `core.v1`."""
    for place, prefix in PLACES:
        base = os.path.join(root, place)
        for folder, _, files in sorted(os.walk(base, followlinks=True)):
            parts = os.path.relpath(folder, base).split('/')
            name = prefix + '.'.join(parts)
            if name.count('.') == 1 and re.fullmatch(r'v\d+((alpha|beta)\d+)?', parts[-1]):
                texts = [open(os.path.join(folder, f)).read() for f in sorted(files)
                         if f.endswith('.go') and not f.endswith('_test.go') and not f.startswith(('zz_', 'generated', 'types_swagger'))]
                yield name, '\n'.join(texts)


def imports(text):
    """The packages that a file calls by a name."""
    found = {}
    for alias, path in re.findall(r'^\s*(\w+)?\s*"k8s\.io/(?:api|apimachinery/pkg/apis)/([\w/]+)"', text, re.M):
        found[alias or path.rsplit('/', 1)[-1]] = path.replace('/', '.')
    return found


def comment_before(lines, at):
    """The lines of the comment that ends right before line `at`."""
    found = []
    while at > 0 and lines[at - 1].strip().startswith('//'):
        at -= 1
        text = lines[at].strip()[2:]
        if not re.match(r'[a-z]+:\S', text):
            found.insert(0, text[1:] if text.startswith(' ') else text)
    return found


def read(root):
    texts, enums, constants, fields, defaults, embedded, unions = {}, {}, [], [], [], [], {}
    lists, order = {}, {}
    for package, text in packages(root):
        texts[package] = (text.split('\n'), imports(text))
    for package, (lines, _) in texts.items():
        for at, line in enumerate(lines):
            named = re.match(r'type (\w+) string$', line.strip())
            if named and any(c.strip() == '+enum' for c in comment_before(lines, at)):
                enums[f'{package}.{named.group(1)}'] = {}
    for package, (lines, imported) in texts.items():
        def full(name):
            alias, _, own = name.rpartition('.')
            return f'{imported.get(alias, alias) if alias else package}.{own}'
        struct = None
        for at, line in enumerate(lines):
            constant = (re.match(r'\s*(?:const )?(\w+)\s+([\w.]+)\s*=\s*"([^"]*)"', line)
                        or re.match(r'\s*(?:const )?(\w+)\s*=\s*([\w.]+)\("([^"]*)"\)', line))
            if constant and struct is None:
                constants.append((constant.group(1), full(constant.group(2)), constant.group(3), ' '.join(comment_before(lines, at))))
            if re.match(r'type \w+ struct \{', line):
                struct = line.split()[1]
                if struct.endswith('List'):
                    lists[f'{package}.{struct}'] = {'about': description(comment_before(lines, at))}
                if '+union' in [c.strip() for c in comment_before(lines, at)]:
                    unions[f'{package}.{struct}'] = ['', []]
            elif line.startswith('}'):
                struct = None
            inline = struct and re.match(r'\s+([\w.]+)\s+`.*?json:",inline', line)
            if inline:
                embedded.append((f'{package}.{struct}', full(inline.group(1))))
            if struct and f'{package}.{struct}' in lists and re.search(r'ListMeta\s+`json:"metadata', line):
                lists[f'{package}.{struct}']['metadata'] = description(comment_before(lines, at))
            field = struct and re.match(r'\s+(\w+)\s+([\w.\[\]*]+)\s+`.*?json:"([^",]+)', line)
            if field:
                owner, key = f'{package}.{struct}', field.group(3)
                of = re.sub(r'^(\*|\[\]|map\[string\])+', '', field.group(2))
                fields.append((owner, key, full(of)))
                if 'omit' not in line:
                    order.setdefault(owner, []).append(key)
                if owner in lists and key == 'items':
                    lists[owner][key] = description(comment_before(lines, at))
                if owner in unions and any(c.strip() == '+unionDiscriminator' for c in comment_before(lines, at)):
                    unions[owner][0] = key
                elif owner in unions:
                    unions[owner][1].append(f'{key}:{field.group(1)}')
                for told in comment_before(lines, at):
                    if told.strip().startswith('+default='):
                        defaults.append((owner, key, told.strip()[len('+default='):]))
    for name, kind, value, comment in constants:
        if kind in enums:
            known = enums[kind].get(value)
            if known is None or (len(known[1]), known[1]) < (len(comment), comment):
                enums[kind][value] = (name, comment)
    values = {name: value for name, _, value, _ in constants}
    fields = [row for row in fields if row[2] in enums]
    defaults = [(owner, key, default_of(text, values)) for owner, key, text in defaults]
    for rows in (fields, defaults):
        inherit(rows, embedded)
    lists = {name: told for name, told in lists.items() if {'items', 'metadata'} <= set(told)}
    order = {name: keys for name, keys in order.items() if keys != sorted(keys)}
    return enums, fields, defaults, unions, lists, order


def inherit(rows, embedded):
    """Adds to a type what the types have that it is made of."""
    before = None
    while before != len(rows):
        before = len(rows)
        known = set(rows)
        rows += sorted({(outer, *row[1:]) for outer, inner in embedded for row in rows if row[0] == inner} - known)


def default_of(text, constants):
    named = re.fullmatch(r'ref\((?:[\w./]+\.)?(\w+)\)', text)
    return json.dumps(constants[named.group(1)] if named else json.loads(text))


def description(lines):
    """What documents make of a comment, in one line: a line break is `\\n`. Source: `generateDescription`."""
    told = ''
    for line in lines:
        line = line.rstrip()
        if line == '---':
            break
        if not line:
            told = told[:-1] + '\n\n'
        elif line.lstrip().startswith(('TODO', '+')):
            continue
        elif line[0] in ' \t':
            told = told[:-1] + '\n' + line + '\n'
        else:
            told += line + ' '
    return told.strip().replace('\\', '\\\\').replace('\n', '\\n').replace('\t', '    ')


def meaning(name, comment):
    told = comment.strip().removeprefix(name).strip()
    return re.sub(r'\s+', ' ', told)


def main():
    enums, fields, defaults, unions, lists, order = read(sys.argv[1])
    rows = [('enum', kind, value, meaning(*told)) for kind, of in enums.items() for value, told in of.items()]
    rows += [('field', *row) for row in fields] + [('default', *row) for row in defaults]
    rows += [('union', kind, which, ','.join(sorted(members))) for kind, (which, members) in unions.items()]
    rows += [('list', kind, key, told) for kind, of in lists.items() for key, told in of.items()]
    rows += [('order', kind, '', ','.join(keys)) for kind, keys in order.items()]
    with open(os.path.join(HERE, 'values.tsv'), 'w') as file:
        for row in sorted(rows):
            file.write('\t'.join(row) + '\n')


if __name__ == '__main__':
    main()
