//! Expressions and what they give, as cel-go and Kubernetes' libraries have it.

use std::sync::Arc;

use serde_json::Value as Json;

use super::eval::Evaluator;
use super::*;
use crate::custom::tests::schema;
use crate::custom::validate;

/// A schema of many kinds of fields.
const FIELDS: &str = r#"{"type":"object","properties":{
    "s":{"type":"string"},"n":{"type":"integer"},"d":{"type":"number"},"b":{"type":"boolean"},
    "l":{"type":"array","items":{"type":"integer"}},
    "t":{"type":"array","items":{"type":"string"}},
    "m":{"type":"object","additionalProperties":{"type":"string"}},
    "o":{"type":"object","properties":{"x":{"type":"string"},"a-b":{"type":"integer"},"namespace":{"type":"string"}}},
    "set":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},
    "keyed":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],
        "items":{"type":"object","properties":{"k":{"type":"string"},"v":{"type":"integer"}}}},
    "when":{"type":"string","format":"date-time"},"long":{"type":"string","format":"duration"},
    "any":{"x-kubernetes-int-or-string":true},"bytes":{"type":"string","format":"byte"},
    "free":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}"#;
const OBJECT: &str = r#"{"s":"héllo","n":5,"d":2.5,"b":true,"l":[3,1,2],"t":["b","a"],"m":{"k":"v","k2":"w"},
    "o":{"x":"y","a-b":7,"namespace":"ns"},"set":["a","b"],"keyed":[{"k":"1","v":1},{"k":"2","v":2}],
    "when":"2026-01-02T03:04:05Z","long":"1h30m","any":"50%","bytes":"aGk="}"#;

/// What a rule says of an object: true, false, or why it cannot be said.
fn says(rule: &str, object: &str) -> String {
    let s = schema(FIELDS);
    let object: Json = serde_json::from_str(object).expect("JSON");
    let program = match compile(rule, &s, true, false, &Type::Bool) {
        Ok((program, _)) => program,
        Err(reason) => return reason,
    };
    let vars = vec![("self", value::Value::of(&object, Some(&s)))];
    let mut evaluator = Evaluator::new(vars, eval::COST_MAX, &program.patterns);
    match evaluator.eval(&program.expr) {
        Ok(value) => library_shown(&value),
        Err(error) => error.message,
    }
}

fn library_shown(value: &value::Value<'_>) -> String {
    match value {
        value::Value::Bool(b) => b.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn rules_hold() {
    for rule in [
        // operators
        "self.n + 1 == 6 && self.n * 2 - 1 == 9 && self.n / 2 == 2 && self.n % 3 == 2 && -self.n == -5",
        "self.d * 2.0 == 5.0 && self.d < 3 && self.n > 4.5 && 1u < 2u",
        "true || self.l[10] == 1",
        "self.l[10] == 1 || true",
        "!(false && self.l[10] == 1)",
        "self.b ? self.n == 5 : self.l[10] == 1",
        "'a' + 'b' == \"ab\" && r'\\d' == '\\\\d' && '''a'b''' == \"a'b\" && '\\u00e9' == 'é' && b'a' + b'b' == b'ab'",
        "0x10 == 16 && 1e3 == 1000.0 && -9223372036854775808 < 0 && .5 == 0.5",
        "[1, 2] + [3] == [1, 2, 3] && {'a': 1} == {'a': 1} && 2 in [1, 2] && 'k' in self.m && !('z' in self.m)",
        "self.l[0] == 3 && self.m['k'] == 'v' && self.m.k == 'v'",
        "// a comment\nself.n == 5",
        "(((((((((((((((((((((((((self.n))))))))))))))))))))))))) == 5",
        // fields
        "has(self.s) && !has(self.free) && has(self.o.x) && has(self.m.k) && !has(self.m.z)",
        "self.o.a__dash__b == 7 && self.o.`a-b` == 7 && self.o.__namespace__ == 'ns'",
        "self.any == '50%' && type(self.any) == string && type(self.n) == int && type(self.d) == double",
        "!self.?free.hasValue()",
        "self.?s.hasValue() && self.m[?'z'].orValue('q') == 'q' && self.?s.value() == self.s",
        "optional.of(1).optMap(x, x + 1).value() == 2 && !optional.none().hasValue()",
        "[1, ?optional.none(), ?optional.of(2)] == [1, 2] && {?'a': optional.none()} == {}",
        // macros
        "self.l.all(x, x > 0) && self.l.exists(x, x == 2) && self.l.exists_one(x, x == 2) && !self.l.all(x, x > 1)",
        "self.l.map(x, x * 2) == [6, 2, 4] && self.l.filter(x, x > 1) == [3, 2] && self.l.map(x, x > 1, x + 1) == [4, 3]",
        "self.m.all(k, self.m[k] != '') && self.m.map(k, k) == ['k', 'k2']",
        "self.l.all(i, v, i < 3 && v > 0) && self.m.exists(k, v, k == 'k2' && v == 'w')",
        "self.l.transformList(i, v, i * v) == [0, 1, 4] && self.m.transformMap(k, v, v + k) == {'k': 'vk', 'k2': 'wk2'}",
        "['a', 'b'].transformMapEntry(i, v, {v: i}) == {'a': 0, 'b': 1}",
        "cel.bind(x, self.n * 2, x + x) == 20",
        // text
        "self.s.size() == 5 && size(self.s) == 5 && self.s.contains('éll') && self.s.startsWith('h') && self.s.endsWith('o')",
        "self.s.charAt(1) == 'é' && self.s.indexOf('l') == 2 && self.s.lastIndexOf('l') == 3 && self.s.indexOf('z') == -1",
        "'aBc'.lowerAscii() == 'abc' && 'aBc'.upperAscii() == 'ABC' && ' a '.trim() == 'a'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && ['a', 'b'].join('-') == 'a-b'",
        "'hello'.substring(1, 3) == 'el' && 'hello'.replace('l', 'L') == 'heLLo' && 'hello'.replace('l', 'L', 1) == 'heLlo'",
        "self.s.matches('^h.*o$') && matches('abc', 'b') && 'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "'%s is %d and %.2f%% of %s'.format(['x', 5, 1.5, [1, 'a']]) == 'x is 5 and 1.50% of [1, a]'",
        "'%x %X %b %o %e'.format([255, 'hi', true, 8, 1234.5]) == 'ff 6869 1 10 1.234500e+03'",
        // conversions
        "int('5') == 5 && double('2.5') == 2.5 && string(5) == '5' && uint(5) == 5u && bool('true') && string(self.bytes) == 'hi'",
        // lists and sets
        "!self.l.isSorted() && self.l.sum() == 6 && self.l.min() == 1 && self.l.max() == 3 && self.l.indexOf(2) == 2",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 2], [2, 1, 1]) && sets.intersects([1], [1, 2])",
        "self.set == ['b', 'a'] && (self.set + ['a', 'c']).size() == 3",
        "self.keyed == self.keyed.filter(x, x.k == '2') + self.keyed.filter(x, x.k == '1') && (self.keyed + self.keyed).size() == 2",
        // times
        "self.when.getFullYear() == 2026 && self.when.getMonth() == 0 && self.when.getDate() == 2 && self.when.getHours() == 3",
        "self.when.getHours('+02:00') == 5 && self.when - self.when == duration('0s') && self.when + duration('1h') > self.when",
        "self.long == duration('90m') && self.long.getMinutes() == 90 && timestamp('2026-01-02T03:04:05Z') == self.when",
        // networks
        "ip('192.168.0.1').family() == 4 && isIP('::1') && !isIP('::ffff:1.2.3.4') && ip('127.0.0.1').isLoopback()",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.0.0/8').masked() == cidr('10.0.0.0/8')",
        "ip.isCanonical('::1') && !ip.isCanonical('0:0::1') && string(cidr('10.0.0.0/8').ip()) == '10.0.0.0' && !isCIDR('10.0.0.0/33')",
        "url('https://a.b:80/p?x=1&x=2').getPort() == '80' && url('https://a.b/p').getHostname() == 'a.b' && url('https://a.b/?x=1&x=2').getQuery() == {'x': ['1', '2']} && !isURL('a b')",
        // quantities, versions, formats
        "self.l.sort() == [1, 2, 3] && self.l.reverse() == [2, 1, 3] && [1, 2, 1].distinct() == [1, 2] && lists.range(3) == [0, 1, 2]",
        "self.keyed.sortBy(x, -x.v).map(x, x.k) == ['2', '1'] && self.l.slice(1, 3) == [1, 2] && [[1], [2, 3]].flatten() == [1, 2, 3]",
        "self.l.first() == optional.of(3) && self.t.last().value() == 'a' && [].first() == optional.none() && [optional.of(1), optional.none()].unwrapOpt() == [1]",
        "[dyn(1), dyn([2, 3])].flatten(2) == [1, 2, 3]",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('50k').asInteger() == 50000 && quantity('1').add(1).sub(quantity('500m')).compareTo(quantity('1.5')) == 0 && !isQuantity('x')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-a').compareTo(semver('1.0.0')) == -1 && isSemver('v1.2', true) && !isSemver('v1.2')",
        "!format.dns1123Label().validate('ok').hasValue() && format.named('dns1123Label').value().validate('Bad_').hasValue()",
    ] {
        assert_eq!(says(rule, OBJECT), "true", "{rule}");
    }
}

#[test]
fn rules_fail_as_upstream() {
    for (rule, message) in [
        ("self.l[10] == 1", "index out of bounds: 10"),
        ("self.m['z'] == ''", "no such key: z"),
        ("self.n / 0 == 1", "division by zero"),
        ("self.n * 9223372036854775807 == 1", "integer overflow"),
        ("self.any > 5", "no such overload"),
        ("optional.none().value() == 1", "optional.none() dereference"),
        ("quantity('x') == quantity('1')", "quantities must match"),
        ("self.l.slice(1, 9) == []", "cannot slice(1, 9), list is length 3"),
        ("self.l.slice(-1, 1) == []", "cannot slice(-1, 1), negative indexes not supported"),
        ("[dyn(1), dyn('a')].sort() == []", "list elements must have the same type"),
    ] {
        assert!(says(rule, OBJECT).starts_with(message), "{rule}: {}", says(rule, OBJECT));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for (rule, message) in [
        ("self.zz == 1", "compilation failed: ERROR: <input>:1:5: undefined field 'zz'\n | self.zz == 1\n | ....^"),
        ("zz == 1", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'zz' (in container '')"),
        (
            "self.n == 'a'",
            "compilation failed: ERROR: <input>:1:8: found no matching overload for '_==_' applied to '(int, string)'",
        ),
        (
            "self.n.contains('a')",
            "compilation failed: ERROR: <input>:1:16: found no matching overload for 'contains' applied to 'int.(string)'",
        ),
        ("self.s.reverse() == ''", "compilation failed: ERROR: <input>:1:15: found no matching overload for 'reverse'"),
        ("self.s.nope()", "compilation failed: ERROR: <input>:1:12: undeclared reference to 'nope' (in container '')"),
        ("self.n", "cel expression must evaluate to a bool"),
        ("self.n +", "compilation failed: ERROR: <input>:1:9: Syntax error: mismatched input '<EOF>'"),
        ("self.s.matches('(')", "compilation failed: ERROR: <input>:1:16: invalid matches argument\n"),
        ("self.s.find('(') == ''", "program instantiation failed: error parsing regexp: "),
        ("duration('1 hour') > duration('1h')", "compilation failed: ERROR: <input>:1:10: invalid duration argument"),
        (
            "timestamp('now') == timestamp('2026-01-01T00:00:00Z')",
            "compilation failed: ERROR: <input>:1:11: invalid timestamp argument",
        ),
        ("[1, 'a'] == []", "compilation failed: ERROR: <input>:1:5: expected type 'int' but found 'string'"),
        (
            "self.n.all(x, true)",
            "compilation failed: ERROR: <input>:1:5: expression of type 'int' cannot be range of a comprehension",
        ),
        ("self.l.all(x, x)", "compilation failed: ERROR: <input>:1:15: expected type 'bool' but found 'int'"),
        ("has(self)", "compilation failed: ERROR: <input>:1:5: invalid argument to has() macro"),
        ("self.free.x == 1", "compilation failed: ERROR: <input>:1:10: undefined field 'x'"),
    ] {
        let said = says(rule, OBJECT);
        assert!(said.starts_with(message), "{rule}: {said}");
    }
}

#[test]
fn nothing_runs_without_bound() {
    let limit = "operation cancelled: actual cost limit exceeded";
    let list = format!("[{}]", (0..2000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let object = format!(r#"{{"l":{list},"s":"{}"}}"#, "a".repeat(100_000));
    for rule in [
        "self.l.all(x, self.l.all(y, self.l.all(z, x + y + z >= 0)))",
        "cel.bind(a, self.s + self.s, cel.bind(b, a + a, cel.bind(c, b + b, cel.bind(d, c + c, cel.bind(e, d + d, cel.bind(f, e + e, f + f != f))))))",
        "self.s.replace('a', self.s) != ''",
        "self.l.map(x, self.l.map(y, self.l)) != []",
        "lists.range(9223372036854775807) == []",
        "self.l.map(x, lists.range(1000)).flatten().sort().reverse() == []",
        "self.l.all(x, !self.s.matches('(a|aa)+$' + string(x)))",
    ] {
        assert_eq!(says(rule, &object), limit, "{rule}");
    }
    for deep in [
        format!("{}true{}", "(".repeat(5000), ")".repeat(5000)),
        format!("{}true", "!".repeat(5000)),
        format!("{} == 1", vec!["1"; 5000].join("+")),
        format!("{}1{} == []", "[".repeat(5000), "]".repeat(5000)),
        format!("self{}", ".a".repeat(5000)),
        format!("{}true", "true?true:".repeat(5000)),
        "x".repeat(200_000),
        (0..240).fold("self".to_owned(), |inner, _| format!("({inner}{})", ".a".repeat(200))),
        "a ".repeat(49_000),
    ] {
        let said = says(&deep, OBJECT);
        assert!(said == "true" || said.starts_with("compilation failed"), "{said:.200}");
    }
    let chain = vec!["self.n == 5"; 2000].join(" && ");
    assert_eq!(says(&chain, OBJECT), "true");
}

/// The lines that say what is wrong with an object, by rules at the root.
fn refused(rules: &str, object: &str, old: Option<&str>) -> Vec<String> {
    let s: Arc<Structural> = schema(&FIELDS.replacen('{', &format!(r#"{{"x-kubernetes-validations":{rules},"#), 1));
    let read = |text: &str| -> Json { serde_json::from_str(text).expect("JSON") };
    validate(&read(object), old.map(read).as_ref(), &s).iter().map(ToString::to_string).collect()
}

#[test]
fn broken_rules_are_told() {
    for (rules, old, expected) in [
        (r#"[{"rule":"self.n > 5"}]"#, None, &[r#"<nil>: Invalid value: failed rule: self.n > 5"#][..]),
        (
            r#"[{"rule":"self.n > 5","message":"too small","fieldPath":".n"}]"#,
            None,
            &[r#"n: Invalid value: too small"#],
        ),
        (
            r#"[{"rule":"self.n > 5","messageExpression":"'n is ' + string(self.n)","reason":"FieldValueForbidden","fieldPath":".m['k']"}]"#,
            None,
            &["m[k]: Forbidden: n is 5"],
        ),
        (
            r#"[{"rule":"[1][9] > 5"}]"#,
            None,
            &[r#"<nil>: Invalid value: "object": index out of bounds: 9 evaluating rule: [1][9] > 5"#],
        ),
        (r#"[{"rule":"self.n == oldSelf.n"}]"#, None, &[]),
        (
            r#"[{"rule":"self.n == oldSelf.n","message":"fixed"}]"#,
            Some(r#"{"n":4}"#),
            &[r#"<nil>: Invalid value: fixed"#],
        ),
        (
            r#"[{"rule":"oldSelf.hasValue()","optionalOldSelf":true}]"#,
            None,
            &[r#"<nil>: Invalid value: failed rule: oldSelf.hasValue()"#],
        ),
        (r#"[{"rule":"oldSelf.hasValue()","optionalOldSelf":true}]"#, Some("{}"), &[]),
        (r#"[{"rule":"self.metadata.name == 'w'"}]"#, None, &[]),
        // Of metadata that its schema does not know nobody can say that it is what it was.
        (
            r#"[{"rule":"self.n > 5"}]"#,
            Some(r#"{"n":5,"metadata":{"name":"w"}}"#),
            &["<nil>: Invalid value: failed rule: self.n > 5"],
        ),
    ] {
        let object = r#"{"n":5,"metadata":{"name":"w"}}"#;
        assert_eq!(refused(rules, object, old), expected, "{rules}");
    }
}

#[test]
fn what_was_broken_and_is_untouched_is_a_warning() {
    let s = schema(
        r#"{"type":"object","properties":{
            "a":{"type":"object","x-kubernetes-validations":[{"rule":"self.n > 5","message":"too small"}],
                "properties":{"n":{"type":"integer"}}},
            "free":{"type":"object","x-kubernetes-preserve-unknown-fields":true,
                "x-kubernetes-validations":[{"rule":"false","message":"never"}]},
            "t":{"type":"string","maxLength":5,"x-kubernetes-validations":[{"rule":"self != 'x'","reason":"FieldValueDuplicate"}]}}}"#,
    );
    let read = |text: &str| -> Json { serde_json::from_str(text).expect("JSON") };
    for (old, new, refused, tolerated) in [
        (r#"{"a":{"n":1}}"#, r#"{"a":{"n":1},"t":"y"}"#, &[][..], &["a: Invalid value: too small"][..]),
        (r#"{"a":{"n":1}}"#, r#"{"a":{"n":2}}"#, &["a: Invalid value: too small"], &[]),
        (r#"{"free":{"x":1}}"#, r#"{"free":{"x":1}}"#, &["free: Invalid value: never"], &[]),
        (r#"{"free":{}}"#, r#"{"free":{},"t":"x"}"#, &[r#"t: Duplicate value: "x""#], &["free: Invalid value: never"]),
    ] {
        let found = validate(&read(new), Some(&read(old)), &s);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), refused, "{new}");
        assert_eq!(found.tolerated().collect::<Vec<_>>(), tolerated, "{new}");
    }
}

#[test]
fn rules_below_know_what_was() {
    let s = schema(
        r#"{"type":"object","properties":{"list":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],
            "items":{"type":"object","x-kubernetes-validations":[{"rule":"self.v >= oldSelf.v","message":"grows"}],
                "properties":{"k":{"type":"string"},"v":{"type":"integer"}}}}}}"#,
    );
    let read = |text: &str| -> Json { serde_json::from_str(text).expect("JSON") };
    let old = read(r#"{"list":[{"k":"a","v":1},{"k":"b","v":5}]}"#);
    let new = read(r#"{"list":[{"k":"b","v":4},{"k":"a","v":2},{"k":"c","v":0}]}"#);
    let lines: Vec<String> = validate(&new, Some(&old), &s).iter().map(ToString::to_string).collect();
    assert_eq!(lines, [r#"list[0]: Invalid value: grows"#]);
}

#[test]
fn rules_are_not_run_on_what_is_not_of_the_schema() {
    let found = refused(r#"[{"rule":"self.n > 5"}]"#, r#"{"n":"x"}"#, None);
    assert!(found[1].starts_with("<nil>: Invalid value: null: some validation rules were not checked"), "{found:?}");
}

#[test]
fn costs_are_bounded_by_the_schema() {
    let nested = "self.l.all(x, self.l.all(y, x == y))";
    let cost = |rule: &str, limits: &str| {
        let s = schema(&format!(
            r#"{{"type":"object","properties":{{"l":{{"type":"array",{limits}"items":{{"type":"string","maxLength":10}}}}}}}}"#
        ));
        let rule = ValidationRule { rule: rule.to_owned(), ..ValidationRule::default() };
        compile_rule(&rule, &s, true).expect("a rule").cost
    };
    assert!(cost(nested, "") > 1_000_000_000);
    assert!(cost(nested, r#""maxItems":10,"#) < 10_000);
    assert!(cost("self.l.all(x, x != '')", "") < 10_000_000);
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in r#"[a-c0-9.?:\[\](){}"'`\\!&|=<>+*/%,\n ru-]{0,60}"#) {
        let _ = parse::parse(&text);
    }

    #[test]
    fn no_rule_breaks_the_evaluator(words in proptest::collection::vec(proptest::sample::select(vec![
        "self", ".l", ".s", ".m", ".n", ".any", ".o", "[0]", "['k']", "?", ":", "+", "-", "==", "&&", "||", "!", "in",
        ".all(x,", ".map(x,", ".exists(k, v,", "x", "v", ")", "(", "1", "2.5", "'a'", "u", ".size()", ".matches(", ".split(",
        ".format(", "[", "]", ",", "{", "}", "has(", "string(", "quantity(", "ip(", "cidr(", "optional.of(", ".value()",
        ".orValue(", ".?x", "[?0]", "cel.bind(x,", "-9223372036854775808", "/", "%", "*", ".replace(", ".substring(",
    ]), 0..25)) {
        let _ = says(&words.concat(), OBJECT);
    }
}
