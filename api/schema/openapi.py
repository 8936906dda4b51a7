"""Writes openapi.txt, what `/openapi/v2` and `/openapi/v3` publish of the types: called by generate.py.

A block a definition, in the order of their names:

    @NAME [gvk=GROUP/VERSION/KIND] [atomic] [is=FORM] [union=WHICH;FIELD:VALUE,…]
                                    is: not made of fields, but of a JSON form of its own; union: see values.py
    : what it is for
    FIELD SHAPE PRESENCE [required] [list=… keys=… patch=… merge=… map=…] [enum=…] [default=…]
    : what the field is for

Shapes and presences are those of types.txt, but for references: they name every definition, also those that types.txt
has letters for. What an enum can be stands with commas between, and pluses for blanks; a
default is JSON. Texts are those of the doc comments, in one line: a line break is `\\n`, a backslash `\\\\`.
"""
import os, re

import generate

FORMS = {
    'api.resource.Quantity': 'quantity', 'meta.v1.Time': 'date-time', 'meta.v1.MicroTime': 'date-time',
    'util.intstr.IntOrString': 'int-or-string', 'pkg.runtime.RawExtension': 'object', 'meta.v1.FieldsV1': 'object',
    'meta.v1.Patch': 'object', 'apiextensions.v1.JSON': 'any', 'apiextensions.v1.JSONSchemaPropsOrArray': 'any',
    'apiextensions.v1.JSONSchemaPropsOrBool': 'any', 'apiextensions.v1.JSONSchemaPropsOrStringArray': 'any',
}
EXTRA = ['DeleteOptions', 'Status', 'ListMeta', 'Patch', 'APIGroup', 'APIGroupList', 'APIResourceList', 'APIVersions']
SCALARS = {k: v for k, v in generate.SCALARS.items() if v in 'sbilfy'}
# What Kubernetes requires and the crate leaves out of its reading.
REQUIRED = {('core.v1.Event', 'metadata'), ('events.v1.Event', 'eventTime')}
# What is written always, and nobody tells of.
UNWRITTEN = {('meta.v1.Status', 'status')}
# The crate has an enum with a variant a type of event in its place.
WATCH_EVENT = ('io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent', 'Event represents a single event to a watched resource.', [
    ('type', 's', 'v', True, ''),
    ('object', '#pkg.runtime.RawExtension', 'v', True,
     'Object is:\n * If Type is Added or Modified: the new state of the object.\n'
     ' * If Type is Deleted: the state of the object immediately before deletion.\n'
     ' * If Type is Error: *Status is recommended; other types may make sense\n   depending on context.'),
])


def text_of(comment):
    """The text of a doc comment, as it was before it was escaped for rustdoc."""
    lines = [re.sub(r'^\s*/// ?', '', line) for line in comment.splitlines() if line.strip().startswith('///')]
    lines = [re.sub(r'\\([\[\]<>\\])', r'\1', line) for line in lines if line.strip() not in ('```', '```text', '```ignore')]
    return '\n'.join(lines).strip()


def shape(rust):
    for wrapper in ('Option<', 'std::boxed::Box<'):
        if rust.startswith(wrapper):
            return shape(rust[len(wrapper):-1])
    if rust.startswith('std::vec::Vec<'):
        return '[' + shape(rust[len('std::vec::Vec<'):-1])
    if rust.startswith('std::collections::BTreeMap<'):
        return '{' + shape(rust[len('std::collections::BTreeMap<'):-1].split(', ', 1)[1])
    return SCALARS.get(rust) or '#' + generate.short(rust.replace('crate::apimachinery::pkg::version::', 'crate.pkg.version.'))


def read_definition(text):
    """(full name, description, fields, group version kind) of a file of the crate, if it defines a type."""
    head = re.search(r'// Generated from definition (\S+)', text)
    declared = re.search(r'((?:^///.*\n)*)^#\[derive.*\n(?:^#.*\n)*^pub (?:struct|enum) (\w+)', text, re.M)
    if not head or not declared:
        return None
    fields = []
    body = re.search(r'pub struct \w+ \{\n(.*?)\n\}', text, re.S)
    if body:
        of = {m.group(2): (text_of(m.group(1)), m.group(3))
              for m in re.finditer(r'((?:^    ///.*\n)*)^    pub (\w+): (.+),$', body.group(1), re.M)}
        encoder = text[text.index('impl crate::serde::Serialize for'):]
        pattern = r'(?:if let Some\(value\) = &self\.(\w+) \{\s*)?crate::serde::ser::SerializeStruct::serialize_field\(&mut state, "([^"]+)", ([^)]+)\)'
        for optional, key, value in re.findall(pattern, encoder):
            comment, rust = of.get(optional or value.removeprefix('&self.'), (None, 'Option<std::string::String>'))
            fields.append((key, rust, comment))
    kind = [re.search(rf"impl crate::Resource for.*?const {name}: &'static str = \"([^\"]*)\"", text, re.S)
            for name in ('GROUP', 'VERSION', 'KIND')]
    return head.group(1), text_of(declared.group(1)), fields, tuple(k.group(1) for k in kind) if all(kind) else None


def read_definitions(source):
    found = {}
    for folder, _, files in sorted(os.walk(os.path.join(source, 'src', generate.VERSION))):
        for file in sorted(files):
            read = read_definition(open(os.path.join(folder, file)).read())
            if read:
                found[generate.short(read[0])] = read
    return found


def served():
    """Group, version and kind of everything that is served, subresources included."""
    with open(os.path.join(generate.HERE, 'resources.tsv')) as file:
        next(file)
        for line in file:
            row = (line.rstrip('\n').split('\t') + [''])[:10]
            group, version = (row[9].rsplit('/', 1) if '/' in row[9] else (row[0], row[1]))
            yield group, version, row[4]


def reachable(definitions, roots):
    found, queue = set(), list(roots)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += [s[1:] for s in (shape(rust).lstrip('[{') for _, rust, _ in definitions[name][2]) if s[0] == '#']
    return found


def escaped(text):
    return ': ' + text.replace('\\', '\\\\').replace('\n', '\\n').replace('\t', '    ')


def read_values():
    """What values.tsv says: the texts of every field that is one of a few, the defaults, the unions, the lists, and
    the order of what is required."""
    meanings, fields, defaults, unions, lists, order = {}, {}, {}, {}, {}, {}
    for line in open(os.path.join(generate.HERE, 'values.tsv')):
        what, owner, key, told = line.rstrip('\n').split('\t')
        if what == 'enum':
            meanings.setdefault(owner, {})[key] = told
        elif what == 'field':
            fields[(owner, key)] = told
        elif what == 'default':
            defaults[(owner, key)] = told
        elif what == 'union':
            unions[owner] = f'{key};{told}'
        elif what == 'list':
            lists.setdefault(owner, {})[key] = told
        else:
            order[owner] = told.split(',')
    return {row: meanings[of] for row, of in fields.items() if of in meanings}, defaults, unions, lists, order


def block_of_list(name, full, kind, told):
    """The type of the lists of a kind, which the crate has none of."""
    group, version, kind = kind
    out = [f'@{full}List gvk={group}/{version}/{kind}List'] + [': ' + told['about']] * bool(told['about'])
    for key, form in (('apiVersion', 's o'), ('items', f'[#{name} v required'), ('kind', 's o'), ('metadata', '#meta.v1.ListMeta v')):
        out.append(f'{key} {form}')
        about = escaped(ABOUT[key]) if key in ABOUT else ': ' + told[key]
        out += [about] * (about != ': ')
    return out


def listed(values):
    """What the text of a field says of the values that it can have."""
    lines = sorted(f' - `"{value}"` {told}'.rstrip() for value, told in values.items())
    return '\n\nPossible enum values:\n' + '\n'.join(lines)


def block(name, definition, keys, whole, go, values):
    full, about, fields, kind = definition
    out = ['@' + full + (f' gvk={"/".join(kind)}' if kind else '') + (' atomic' if name in whole else '')
           + (f' is={FORMS[name]}' if name in FORMS else '') + (f' union={values[2][name]}' if name in values[2] else '')]
    out += [escaped(about)] if about else []
    order = values[4].get(name, [])
    place = {key: order.index(key) if key in order else len(order) for key, _, _ in fields}
    for key, rust, comment in [] if name in FORMS else sorted(fields, key=lambda field: place[field[0]]):
        is_type = comment is None or (kind and key in ('apiVersion', 'kind'))
        is_meta = key == 'metadata' and rust.endswith(('ObjectMeta', 'ListMeta'))
        required = (name, key) in REQUIRED or not (rust.startswith('Option<') or is_type or is_meta)
        # What is required is published with its zero value, even where that is not written.
        is_required = not rust.startswith('Option<')
        silent = is_type or (name, key) in UNWRITTEN
        presence = 'o' if silent else 'v' if is_required else generate.presence(name, key, rust, kind, go)
        merge = zip(('list', 'keys', 'patch', 'merge', 'map'), keys.get((name, key), ('',) * 5))
        enum, default = values[0].get((name, key)), values[1].get((name, key))
        extra = ['enum=' + ','.join(sorted(enum)).replace(' ', '+')] if enum else []
        extra += [f'default={default}'] * (default is not None)
        out.append(' '.join([key, shape(rust), presence] + ['required'] * required + [f'{k}={v}' for k, v in merge if v] + extra))
        about = comment or (ABOUT[key] if is_type else '')
        about += listed(enum) if enum and shape(rust) == 's' else ''
        out += [escaped(about)] if about else []
    return out


ABOUT = {}


def write(source):
    definitions = read_definitions(source)
    ABOUT.update({key: comment for key, _, comment in definitions['meta.v1.DeleteOptions'][2] if key in ('apiVersion', 'kind')})
    kinds = set(served())
    roots = [name for name, definition in definitions.items() if definition[3] in kinds]
    roots += ['meta.v1.' + name for name in EXTRA] + ['pkg.version.Info', 'pkg.runtime.RawExtension']
    keys, whole = generate.read_keys()
    go = generate.read_go()
    values = read_values()
    blocks = {definitions[name][0]: block(name, definitions[name], keys, whole, go, values)
              for name in reachable(definitions, roots)}
    for name in [name for name in reachable(definitions, roots) if name + 'List' in values[3]]:
        full, _, _, kind = definitions[name]
        if kind:
            blocks[full + 'List'] = block_of_list(name, full, kind, values[3][name + 'List'])
    name, about, fields = WATCH_EVENT
    blocks[name] = ['@' + name, escaped(about)]
    for key, form, presence, required, comment in fields:
        blocks[name] += [' '.join([key, form, presence] + ['required'] * required)] + ([escaped(comment)] if comment else [])
    with open(os.path.join(generate.HERE, 'openapi.txt'), 'w') as file:
        for name in sorted(blocks):
            file.write('\n'.join(blocks[name]) + '\n')
