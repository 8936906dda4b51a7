//! What functions take and give.
//!
//! A capital letter stands for any type, the same one wherever it stands again.

use std::collections::BTreeMap;

use super::policy;
use super::types::Type;

/// The types that libraries have.
const OPAQUE: [&str; 11] = [
    "IP",
    "CIDR",
    "URL",
    "Quantity",
    "Semver",
    "Format",
    "Authorizer",
    "PathCheck",
    "GroupCheck",
    "ResourceCheck",
    "Decision",
];

/// Functions: their name, what they take, what they give. A method's receiver stands before its name.
const SIGNATURES: &[&str] = &[
    "!_(bool): bool",
    "-_(int): int",
    "-_(double): double",
    "_+_(int,int): int",
    "_+_(uint,uint): uint",
    "_+_(double,double): double",
    "_+_(string,string): string",
    "_+_(bytes,bytes): bytes",
    "_+_(list(A),list(A)): list(A)",
    "_+_(duration,duration): duration",
    "_+_(timestamp,duration): timestamp",
    "_+_(duration,timestamp): timestamp",
    "_-_(int,int): int",
    "_-_(uint,uint): uint",
    "_-_(double,double): double",
    "_-_(duration,duration): duration",
    "_-_(timestamp,duration): timestamp",
    "_-_(timestamp,timestamp): duration",
    "_*_(int,int): int",
    "_*_(uint,uint): uint",
    "_*_(double,double): double",
    "_/_(int,int): int",
    "_/_(uint,uint): uint",
    "_/_(double,double): double",
    "_%_(int,int): int",
    "_%_(uint,uint): uint",
    "_==_(A,A): bool",
    "_!=_(A,A): bool",
    "@in(A,list(A)): bool",
    "@in(A,map(A,B)): bool",
    "size(string): int",
    "size(bytes): int",
    "size(list(A)): int",
    "size(map(A,B)): int",
    "string.size(): int",
    "bytes.size(): int",
    "list(A).size(): int",
    "map(A,B).size(): int",
    "dyn(A): dyn",
    "type(A): type",
    "int(int): int",
    "int(uint): int",
    "int(double): int",
    "int(string): int",
    "int(timestamp): int",
    "int(duration): int",
    "uint(uint): uint",
    "uint(int): uint",
    "uint(double): uint",
    "uint(string): uint",
    "double(double): double",
    "double(int): double",
    "double(uint): double",
    "double(string): double",
    "bool(bool): bool",
    "bool(string): bool",
    "string(string): string",
    "string(bool): string",
    "string(int): string",
    "string(uint): string",
    "string(double): string",
    "string(bytes): string",
    "string(timestamp): string",
    "string(duration): string",
    "string(IP): string",
    "string(CIDR): string",
    "bytes(bytes): bytes",
    "bytes(string): bytes",
    "duration(string): duration",
    "duration(duration): duration",
    "timestamp(string): timestamp",
    "timestamp(int): timestamp",
    "timestamp(timestamp): timestamp",
    "timestamp.getFullYear(): int",
    "timestamp.getMonth(): int",
    "timestamp.getDate(): int",
    "timestamp.getDayOfMonth(): int",
    "timestamp.getDayOfYear(): int",
    "timestamp.getDayOfWeek(): int",
    "timestamp.getHours(): int",
    "timestamp.getMinutes(): int",
    "timestamp.getSeconds(): int",
    "timestamp.getMilliseconds(): int",
    "timestamp.getFullYear(string): int",
    "timestamp.getMonth(string): int",
    "timestamp.getDate(string): int",
    "timestamp.getDayOfMonth(string): int",
    "timestamp.getDayOfYear(string): int",
    "timestamp.getDayOfWeek(string): int",
    "timestamp.getHours(string): int",
    "timestamp.getMinutes(string): int",
    "timestamp.getSeconds(string): int",
    "timestamp.getMilliseconds(string): int",
    "duration.getHours(): int",
    "duration.getMinutes(): int",
    "duration.getSeconds(): int",
    "duration.getMilliseconds(): int",
    "matches(string,string): bool",
    "string.matches(string): bool",
    "string.contains(string): bool",
    "string.startsWith(string): bool",
    "string.endsWith(string): bool",
    "string.charAt(int): string",
    "string.indexOf(string): int",
    "string.indexOf(string,int): int",
    "string.lastIndexOf(string): int",
    "string.lastIndexOf(string,int): int",
    "string.lowerAscii(): string",
    "string.upperAscii(): string",
    "string.replace(string,string): string",
    "string.replace(string,string,int): string",
    "string.split(string): list(string)",
    "string.split(string,int): list(string)",
    "string.substring(int): string",
    "string.substring(int,int): string",
    "string.trim(): string",
    "string.format(list(dyn)): string",
    "list(string).join(): string",
    "list(string).join(string): string",
    "strings.quote(string): string",
    "string.find(string): string",
    "string.findAll(string): list(string)",
    "string.findAll(string,int): list(string)",
    "list(A).isSorted(): bool",
    "list(A).sum(): A",
    "list(A).min(): A",
    "list(A).max(): A",
    "list(A).indexOf(A): int",
    "list(A).lastIndexOf(A): int",
    "list(A).slice(int,int): list(A)",
    "list(list(A)).flatten(): list(A)",
    "list(dyn).flatten(int): list(dyn)",
    "list(A).reverse(): list(A)",
    "list(A).distinct(): list(A)",
    "list(A).first(): optional(A)",
    "list(A).last(): optional(A)",
    "lists.range(int): list(int)",
    "list(optional(A)).unwrapOpt(): list(A)",
    "optional.unwrap(list(optional(A))): list(A)",
    "list(int).sort(): list(int)",
    "list(uint).sort(): list(uint)",
    "list(double).sort(): list(double)",
    "list(bool).sort(): list(bool)",
    "list(duration).sort(): list(duration)",
    "list(timestamp).sort(): list(timestamp)",
    "list(string).sort(): list(string)",
    "list(bytes).sort(): list(bytes)",
    "list(A).@sortByAssociatedKeys(list(int)): list(A)",
    "list(A).@sortByAssociatedKeys(list(uint)): list(A)",
    "list(A).@sortByAssociatedKeys(list(double)): list(A)",
    "list(A).@sortByAssociatedKeys(list(bool)): list(A)",
    "list(A).@sortByAssociatedKeys(list(duration)): list(A)",
    "list(A).@sortByAssociatedKeys(list(timestamp)): list(A)",
    "list(A).@sortByAssociatedKeys(list(string)): list(A)",
    "list(A).@sortByAssociatedKeys(list(bytes)): list(A)",
    "sets.contains(list(A),list(A)): bool",
    "sets.equivalent(list(A),list(A)): bool",
    "sets.intersects(list(A),list(A)): bool",
    "Authorizer.path(string): PathCheck",
    "Authorizer.group(string): GroupCheck",
    "Authorizer.serviceAccount(string,string): Authorizer",
    "PathCheck.check(string): Decision",
    "GroupCheck.resource(string): ResourceCheck",
    "ResourceCheck.subresource(string): ResourceCheck",
    "ResourceCheck.namespace(string): ResourceCheck",
    "ResourceCheck.name(string): ResourceCheck",
    "ResourceCheck.fieldSelector(string): ResourceCheck",
    "ResourceCheck.labelSelector(string): ResourceCheck",
    "ResourceCheck.check(string): Decision",
    "Decision.allowed(): bool",
    "Decision.reason(): string",
    "Decision.errored(): bool",
    "Decision.error(): string",
    "jsonpatch.escapeKey(string): string",
    "optional.of(A): optional(A)",
    "optional.ofNonZeroValue(A): optional(A)",
    "optional.none(): optional(A)",
    "optional(A).hasValue(): bool",
    "optional(A).value(): A",
    "optional(A).or(optional(A)): optional(A)",
    "optional(A).orValue(A): A",
    "url(string): URL",
    "isURL(string): bool",
    "URL.getScheme(): string",
    "URL.getHost(): string",
    "URL.getHostname(): string",
    "URL.getPort(): string",
    "URL.getEscapedPath(): string",
    "URL.getQuery(): map(string,list(string))",
    "ip(string): IP",
    "isIP(string): bool",
    "ip.isCanonical(string): bool",
    "IP.family(): int",
    "IP.isUnspecified(): bool",
    "IP.isLoopback(): bool",
    "IP.isLinkLocalMulticast(): bool",
    "IP.isLinkLocalUnicast(): bool",
    "IP.isGlobalUnicast(): bool",
    "cidr(string): CIDR",
    "isCIDR(string): bool",
    "CIDR.containsIP(IP): bool",
    "CIDR.containsIP(string): bool",
    "CIDR.containsCIDR(CIDR): bool",
    "CIDR.containsCIDR(string): bool",
    "CIDR.ip(): IP",
    "CIDR.masked(): CIDR",
    "CIDR.prefixLength(): int",
    "quantity(string): Quantity",
    "isQuantity(string): bool",
    "Quantity.isInteger(): bool",
    "Quantity.asInteger(): int",
    "Quantity.asApproximateFloat(): double",
    "Quantity.sign(): int",
    "Quantity.isGreaterThan(Quantity): bool",
    "Quantity.isLessThan(Quantity): bool",
    "Quantity.compareTo(Quantity): int",
    "Quantity.add(Quantity): Quantity",
    "Quantity.add(int): Quantity",
    "Quantity.sub(Quantity): Quantity",
    "Quantity.sub(int): Quantity",
    "semver(string): Semver",
    "semver(string,bool): Semver",
    "isSemver(string): bool",
    "isSemver(string,bool): bool",
    "Semver.major(): int",
    "Semver.minor(): int",
    "Semver.patch(): int",
    "Semver.isGreaterThan(Semver): bool",
    "Semver.isLessThan(Semver): bool",
    "Semver.compareTo(Semver): int",
    "format.named(string): optional(Format)",
    "format.dns1123Label(): Format",
    "format.dns1123Subdomain(): Format",
    "format.dns1035Label(): Format",
    "format.dns1123LabelPrefix(): Format",
    "format.dns1123SubdomainPrefix(): Format",
    "format.dns1035LabelPrefix(): Format",
    "format.qualifiedName(): Format",
    "format.labelValue(): Format",
    "format.uri(): Format",
    "format.uuid(): Format",
    "format.byte(): Format",
    "format.date(): Format",
    "format.datetime(): Format",
    "Format.validate(string): optional(list(string))",
];
const COMPARISONS: [&str; 4] = ["_<_", "_<=_", "_>_", "_>=_"];

/// What a function gives for what it is given, or whether there is one of that name at all.
pub(super) enum Found<'s> {
    Gives(Type<'s>),
    NoOverload,
    Unknown,
}

/// Looks for a function; `is_method` if the first argument is its receiver.
pub(super) fn find<'s>(name: &str, args: &[Type<'s>], is_method: bool) -> Found<'s> {
    if COMPARISONS.contains(&name) {
        return if args.len() == 2 && are_ordered(&args[0], &args[1]) {
            Found::Gives(Type::Bool)
        } else {
            Found::NoOverload
        };
    }
    let mut known = false;
    let mut gives: Option<Type<'s>> = None;
    for signature in SIGNATURES {
        let Some((receiver, parameters, result)) = named(signature, name, is_method) else { continue };
        known = true;
        let mut wanted: Vec<&str> = receiver.into_iter().collect();
        wanted.extend(split(parameters));
        let mut bound = BTreeMap::new();
        if wanted.len() == args.len() && wanted.iter().zip(args).all(|(wanted, arg)| takes(wanted, arg, &mut bound)) {
            let made = made(result, &bound);
            gives = Some(match gives {
                None => made,
                // Several fit where something is only known when it is run.
                Some(before) if format!("{before}") == format!("{made}") => before,
                Some(_) => Type::Dyn,
            });
        }
    }
    match gives {
        Some(made) => Found::Gives(made),
        None if known => Found::NoOverload,
        None => Found::Unknown,
    }
}

/// The receiver, parameters and result of a signature that has the name.
fn named<'t>(signature: &'t str, name: &str, is_method: bool) -> Option<(Option<&'t str>, &'t str, &'t str)> {
    let (head, result) = signature.rsplit_once(": ")?;
    // The parameters are in the last pair of parentheses; those of types are closed before.
    let mut depth = 0_usize;
    let open = head.char_indices().rev().find_map(|(at, c)| {
        match c {
            ')' => depth += 1,
            '(' => depth -= 1,
            _ => {}
        }
        (c == '(' && depth == 0).then_some(at)
    })?;
    let parameters = head[open + 1..].strip_suffix(')')?;
    let full = &head[..open];
    if full == name && !is_method {
        return Some((None, parameters, result));
    }
    let (receiver, method) = full.rsplit_once('.')?;
    (is_method && method == name).then_some((Some(receiver), parameters, result))
}

/// The parts of a list between commas, not counting those within parentheses.
fn split(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !list.is_empty() {
        parts.push(&list[from..]);
    }
    parts
}

type Bound<'s> = BTreeMap<char, Type<'s>>;

/// Whether a parameter takes a type, which may say what a letter stands for.
fn takes<'s>(wanted: &str, arg: &Type<'s>, bound: &mut Bound<'s>) -> bool {
    if let Some(letter) = wanted.chars().next().filter(|c| wanted.len() == 1 && c.is_ascii_uppercase()) {
        return match bound.get(&letter) {
            Some(before) if before.is_dyn() => true,
            Some(before) => before.fits(arg),
            None => {
                bound.insert(letter, arg.clone());
                true
            }
        };
    }
    if arg.is_dyn() {
        return true;
    }
    match (inner(wanted), arg) {
        (Some(("list", of)), Type::List(arg)) | (Some(("optional", of)), Type::Optional(arg)) => takes(of, arg, bound),
        (Some(("map", of)), Type::Map(key, value)) => match split(of)[..] {
            [k, v] => takes(k, key, bound) && takes(v, value, bound),
            _ => false,
        },
        (None, arg) => simple(wanted).is_some_and(|wanted| wanted.fits(arg) && !matches!(arg, Type::Null)),
        _ => false,
    }
}

fn inner(wanted: &str) -> Option<(&str, &str)> {
    let (head, rest) = wanted.split_once('(')?;
    Some((head, rest.strip_suffix(')')?))
}

fn made<'s>(result: &str, bound: &Bound<'s>) -> Type<'s> {
    if let Some(letter) = result.chars().next().filter(|c| result.len() == 1 && c.is_ascii_uppercase()) {
        return bound.get(&letter).cloned().unwrap_or(Type::Dyn);
    }
    match inner(result) {
        Some(("list", of)) => Type::list(made(of, bound)),
        Some(("optional", of)) => Type::optional(made(of, bound)),
        Some((_, of)) => match split(of)[..] {
            [k, v] => Type::Map(made(k, bound).into(), made(v, bound).into()),
            _ => Type::Dyn,
        },
        None => simple(result).unwrap_or(Type::Dyn),
    }
}

/// The type that a signature names.
pub(super) fn type_of<'s>(name: &str) -> Type<'s> {
    made(name, &Bound::new())
}

fn simple<'s>(name: &str) -> Option<Type<'s>> {
    Some(match name {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "type" => Type::Kind,
        other => match policy::record(other) {
            Some(record) => Type::Record(record),
            None => Type::Opaque(OPAQUE.into_iter().find(|name| *name == other)?),
        },
    })
}

/// Whether two types have an order among them. Numbers of all types do.
fn are_ordered(left: &Type<'_>, right: &Type<'_>) -> bool {
    let number = |t: &Type<'_>| matches!(t, Type::Int | Type::Uint | Type::Double | Type::Dyn);
    let ordered = |t: &Type<'_>| {
        matches!(t, Type::Dyn | Type::Bool | Type::String | Type::Bytes | Type::Duration | Type::Timestamp)
    };
    (number(left) && number(right)) || (ordered(left) && ordered(right) && left.fits(right))
}
