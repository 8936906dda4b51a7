//! Tokens to expressions, by precedence, with macros read as what they are.
//!
//! Source: the grammar in `google/cel-spec/doc/langdef.md`.

use super::Failure;
use super::ast::{Expr, Kind, Literal, Macro, MacroOp};
use super::lex::{Token, tokens};

/// How deep expressions may stand in each other. Source: cel-go's `MaxRecursionDepth`.
const DEPTH_MAX: usize = 250;
/// The longest source. Source: cel-go's `ExpressionSizeCodePointLimit`.
const SOURCE_CHARS_MAX: usize = 100_000;
const STACK_RED_ZONE: usize = 64 * 1024;
const STACK_BYTES: usize = 1024 * 1024;
/// Names that are kept for the language.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
    "in",
];

/// Runs what recurses with as much stack as it needs.
pub(super) fn with_stack<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_RED_ZONE, STACK_BYTES, run)
}

/// What follows the name of a type in the name of the function that makes an object of it: `Object.spec{}`.
pub(super) const MESSAGE: &str = "{}";

/// Reads an expression.
pub(super) fn parse(source: &str) -> Result<Expr, Failure> {
    read(source, false)
}

/// Reads an expression that may make objects of types: `Object{spec: Object.spec{replicas: 1}}`.
pub(super) fn parse_with_messages(source: &str) -> Result<Expr, Failure> {
    read(source, true)
}

fn read(source: &str, messages: bool) -> Result<Expr, Failure> {
    if source.chars().nth(SOURCE_CHARS_MAX).is_some() {
        let message = format!("expression code point size exceeds limit: size limit: {SOURCE_CHARS_MAX}");
        return Err(Failure { at: 0, message });
    }
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0, height: 0, messages };
    let expr = parser.expr()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected()),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    /// How deep it is within what has been begun.
    depth: usize,
    /// How tall the expression is that was read last.
    height: usize,
    /// Whether objects of types may be made.
    messages: bool,
}

/// Operators of two operands, weakest first.
const LEVELS: [&[&str]; 3] = [&["==", "!=", "<=", ">=", "<", ">", "in"], &["+", "-"], &["*", "/", "%"]];

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn place(&self) -> usize {
        self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(s) if *s == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Failure> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Failure {
        let found = match self.peek() {
            Token::End => "<EOF>".to_owned(),
            Token::Sign(sign) => (*sign).to_owned(),
            Token::Ident(name) | Token::Quoted(name) => name.clone(),
            Token::String(text) => format!("{text:?}"),
            other => format!("{other:?}"),
        };
        Failure { at: self.place(), message: format!("Syntax error: mismatched input '{found}'") }
    }

    /// One level deeper, as far as that goes.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.depth >= DEPTH_MAX {
            let message = format!("expression recursion limit exceeded: {DEPTH_MAX}");
            return Err(Failure { at: self.place(), message });
        }
        self.depth += 1;
        let result = with_stack(|| parse(self));
        self.depth -= 1;
        result
    }

    /// Notes how tall what has been read is, as far as that goes: what walks over it, or drops it, recurses.
    fn grown(&mut self, height: usize, at: usize) -> Result<(), Failure> {
        self.height = height;
        if height <= DEPTH_MAX {
            return Ok(());
        }
        Err(Failure { at, message: format!("expression recursion limit exceeded: {DEPTH_MAX}") })
    }

    fn expr(&mut self) -> Result<Expr, Failure> {
        self.deeper(|p| {
            let at = p.place();
            let condition = p.or()?;
            if !p.take("?") {
                return Ok(condition);
            }
            let mut height = p.height;
            let yes = p.or()?;
            height = height.max(p.height);
            p.expect(":")?;
            let no = p.expr()?;
            p.grown(height.max(p.height) + 1, at)?;
            Ok(Expr { kind: Kind::If(Box::new([condition, yes, no])), at })
        })
    }

    fn or(&mut self) -> Result<Expr, Failure> {
        self.chain("||", Kind::Or, |p| p.chain("&&", Kind::And, |p| p.binary(0)))
    }

    fn chain(
        &mut self,
        sign: &str,
        kind: fn(Vec<Expr>) -> Kind,
        operand: impl Fn(&mut Self) -> Result<Expr, Failure>,
    ) -> Result<Expr, Failure> {
        let at = self.place();
        let mut operands = vec![operand(self)?];
        let mut height = self.height;
        while self.take(sign) {
            operands.push(operand(self)?);
            height = height.max(self.height + 1);
        }
        self.grown(height.max(self.height + usize::from(operands.len() > 1)), at)?;
        match operands.pop() {
            Some(only) if operands.is_empty() => Ok(only),
            Some(last) => {
                operands.push(last);
                Ok(Expr { kind: kind(operands), at })
            }
            None => Err(self.unexpected()),
        }
    }

    fn binary(&mut self, level: usize) -> Result<Expr, Failure> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            let at = self.place();
            let name = match self.peek() {
                Token::Sign(sign) if operators.contains(sign) => format!("_{sign}_"),
                Token::Ident(name) if name == "in" && level == 0 => "@in".to_owned(),
                _ => return Ok(left),
            };
            self.next();
            let height = self.height;
            let right = self.binary(level + 1)?;
            self.grown(height.max(self.height) + 1, at)?;
            left = Expr { kind: Kind::Call { target: None, name, args: vec![left, right] }, at };
        }
    }

    fn unary(&mut self) -> Result<Expr, Failure> {
        let at = self.place();
        if self.take("!") {
            let mut negated = true;
            while self.take("!") {
                negated = !negated;
            }
            let operand = self.deeper(Self::member)?;
            self.grown(self.height + 1, at)?;
            let call = |operand| Kind::Call { target: None, name: "!_".to_owned(), args: vec![operand] };
            return Ok(if negated { Expr { kind: call(operand), at } } else { operand });
        }
        if !self.is("-") {
            return self.member();
        }
        let mut negated = false;
        while self.take("-") {
            negated = !negated;
        }
        match (negated, self.peek().clone()) {
            (true, Token::IntMin) => {
                self.next();
                return Ok(Expr { kind: Kind::Literal(Literal::Int(i64::MIN)), at });
            }
            (true, Token::Int(n)) => {
                self.next();
                self.height = 1;
                let literal = Expr { kind: Kind::Literal(Literal::Int(-n)), at };
                return self.suffixes(literal);
            }
            (true, Token::Double(n)) => {
                self.next();
                self.height = 1;
                let literal = Expr { kind: Kind::Literal(Literal::Double(-n)), at };
                return self.suffixes(literal);
            }
            _ => {}
        }
        let operand = self.deeper(Self::member)?;
        self.grown(self.height + 1, at)?;
        if !negated {
            return Ok(operand);
        }
        Ok(Expr { kind: Kind::Call { target: None, name: "-_".to_owned(), args: vec![operand] }, at })
    }

    fn member(&mut self) -> Result<Expr, Failure> {
        let first = self.primary()?;
        self.suffixes(first)
    }

    /// Fields, methods and indices.
    fn suffixes(&mut self, first: Expr) -> Result<Expr, Failure> {
        let mut expr = first;
        loop {
            let at = self.place();
            let height = self.height;
            if self.take(".") || self.is(".?") {
                let optional = self.take(".?");
                let field = self.field()?;
                let open = self.place();
                if !optional && self.take("(") {
                    let args = self.arguments(")")?;
                    self.grown(height.max(self.height) + 1, at)?;
                    // A call is where its parenthesis is.
                    expr = method(expr, field, args, open)?;
                } else {
                    self.grown(height + 1, at)?;
                    expr = Expr { kind: Kind::Select { of: Box::new(expr), field, optional }, at };
                }
            } else if self.is("[") || self.is("[?") {
                let optional = self.take("[?");
                if !optional {
                    self.expect("[")?;
                }
                let index = Box::new(self.expr()?);
                self.expect("]")?;
                self.grown(height.max(self.height) + 1, at)?;
                expr = Expr { kind: Kind::Index { of: Box::new(expr), index, optional }, at };
            } else if let Some(name) = type_name(&expr).filter(|_| self.messages && (self.is("{") || self.is("{?"))) {
                let fields = self.deeper(|parser| parser.map(at, true))?;
                let name = format!("{name}{MESSAGE}");
                expr = Expr { kind: Kind::Call { target: None, name, args: vec![fields] }, at };
            } else {
                return Ok(expr);
            }
        }
    }

    fn field(&mut self) -> Result<String, Failure> {
        match self.peek().clone() {
            Token::Ident(name) | Token::Quoted(name) => {
                self.next();
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Arguments up to a closing sign, the opening one of which has been read.
    fn arguments(&mut self, closing: &str) -> Result<Vec<Expr>, Failure> {
        let mut args = Vec::new();
        let mut height = 0;
        while !self.take(closing) {
            args.push(self.expr()?);
            height = height.max(self.height);
            if !self.take(",") {
                self.expect(closing)?;
                break;
            }
        }
        self.height = height;
        Ok(args)
    }

    fn primary(&mut self) -> Result<Expr, Failure> {
        let at = self.place();
        // A leading dot means the outermost scope, which is the only one there is.
        self.take(".");
        self.height = 1;
        let literal = |literal| Ok(Expr { kind: Kind::Literal(literal), at });
        match self.peek().clone() {
            Token::IntMin => Err(Failure { at, message: "invalid int literal".to_owned() }),
            Token::Int(n) => self.then(literal(Literal::Int(n))),
            Token::Uint(n) => self.then(literal(Literal::Uint(n))),
            Token::Double(n) => self.then(literal(Literal::Double(n))),
            Token::String(text) => self.then(literal(Literal::String(text))),
            Token::Bytes(bytes) => self.then(literal(Literal::Bytes(bytes))),
            Token::Ident(name) => {
                self.next();
                let open = self.place();
                match name.as_str() {
                    "true" => literal(Literal::Bool(true)),
                    "false" => literal(Literal::Bool(false)),
                    "null" => literal(Literal::Null),
                    reserved if RESERVED.contains(&reserved) => {
                        Err(Failure { at, message: format!("reserved identifier: {reserved}") })
                    }
                    _ if self.take("(") => {
                        let args = self.arguments(")")?;
                        self.grown(self.height + 1, at)?;
                        function(name, args, open)
                    }
                    _ => Ok(Expr { kind: Kind::Ident(name), at }),
                }
            }
            Token::Sign("(") => {
                self.next();
                let expr = self.expr()?;
                self.expect(")")?;
                Ok(expr)
            }
            Token::Sign("[" | "[?") => self.list(at),
            Token::Sign("{" | "{?") => self.map(at, false),
            _ => Err(self.unexpected()),
        }
    }

    fn then(&mut self, result: Result<Expr, Failure>) -> Result<Expr, Failure> {
        self.next();
        result
    }

    fn list(&mut self, at: usize) -> Result<Expr, Failure> {
        let mut optional = self.take("[?");
        if !optional {
            self.expect("[")?;
        }
        let mut elements = Vec::new();
        let mut height = 0;
        while optional || !self.take("]") {
            elements.push((self.expr()?, optional));
            height = height.max(self.height);
            if !self.take(",") {
                self.expect("]")?;
                break;
            }
            optional = self.take("?");
        }
        self.grown(height + 1, at)?;
        Ok(Expr { kind: Kind::List(elements), at })
    }

    fn map(&mut self, at: usize, of_message: bool) -> Result<Expr, Failure> {
        let mut optional = self.take("{?");
        if !optional {
            self.expect("{")?;
        }
        let mut entries = Vec::new();
        let mut height = 0;
        while optional || !self.take("}") {
            let key = match (of_message, self.place()) {
                (true, at) => Expr { kind: Kind::Literal(Literal::String(self.field()?)), at },
                (false, _) => self.expr()?,
            };
            height = height.max(self.height);
            self.expect(":")?;
            entries.push((key, self.expr()?, optional));
            height = height.max(self.height);
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
            optional = self.take("?");
        }
        self.grown(height + 1, at)?;
        Ok(Expr { kind: Kind::Map(entries), at })
    }
}

/// The name that an expression is, if it may be that of a type: `Object.spec`.
fn type_name(expr: &Expr) -> Option<String> {
    match &expr.kind {
        Kind::Ident(name) => Some(name.clone()),
        Kind::Select { of, field, optional: false } => Some(format!("{}.{field}", type_name(of)?)),
        _ => None,
    }
}

/// A call without a receiver: `has(…)` is a macro.
fn function(name: String, mut args: Vec<Expr>, at: usize) -> Result<Expr, Failure> {
    if name == "has" && args.len() == 1 {
        let asked = args.remove(0);
        return match asked.kind {
            Kind::Select { of, field, optional: false } => Ok(Expr { kind: Kind::Has { of, field }, at }),
            _ => Err(Failure { at: asked.at, message: "invalid argument to has() macro".to_owned() }),
        };
    }
    Ok(Expr { kind: Kind::Call { target: None, name, args }, at })
}

/// A list in the order of what an expression makes of its elements: bound once, and sorted by the list of these.
fn sort_by(target: Expr, vars: Vec<String>, key: Expr, at: usize) -> Expr {
    const INPUT: &str = "@__sortBy_input__";
    let input = || Expr { kind: Kind::Ident(INPUT.to_owned()), at };
    let made = |op, range, vars, body| {
        let kind = Kind::Macro(Box::new(Macro { op, range, vars, filter: None, body }));
        Expr { kind, at }
    };
    let keys = made(MacroOp::List, input(), vars, key);
    let name = "@sortByAssociatedKeys".to_owned();
    let sorted = Expr { kind: Kind::Call { target: Some(Box::new(input())), name, args: vec![keys] }, at };
    made(MacroOp::Bind, target, vec![INPUT.to_owned()], sorted)
}

/// A call with a receiver, which may be a macro.
fn method(target: Expr, name: String, args: Vec<Expr>, at: usize) -> Result<Expr, Failure> {
    use MacroOp::{All, Bind, Entries, Exists, ExistsOne, Filter, List, Map, OptFlatMap, OptMap};
    let is_cel = matches!(&target.kind, Kind::Ident(name) if name == "cel");
    // The operation, how many names it takes, and whether it has a condition.
    let shape = match (name.as_str(), args.len()) {
        ("all", 2) => Some((All, 1, false)),
        ("all", 3) => Some((All, 2, false)),
        ("exists", 2) => Some((Exists, 1, false)),
        ("exists", 3) => Some((Exists, 2, false)),
        ("exists_one" | "existsOne", 2) => Some((ExistsOne, 1, false)),
        ("existsOne", 3) => Some((ExistsOne, 2, false)),
        ("filter", 2) => Some((Filter, 1, false)),
        ("map", 2) => Some((List, 1, false)),
        ("map", 3) => Some((List, 1, true)),
        ("transformList", 3) => Some((List, 2, false)),
        ("transformList", 4) => Some((List, 2, true)),
        ("transformMap", 3) => Some((Map, 2, false)),
        ("transformMap", 4) => Some((Map, 2, true)),
        ("transformMapEntry", 3) => Some((Entries, 2, false)),
        ("transformMapEntry", 4) => Some((Entries, 2, true)),
        ("optMap", 2) => Some((OptMap, 1, false)),
        ("optFlatMap", 2) => Some((OptFlatMap, 1, false)),
        ("bind", 3) if is_cel => Some((Bind, 1, true)),
        ("sortBy", 2) => Some((List, 1, false)),
        _ => None,
    };
    let Some((op, names, with_filter)) = shape else {
        return Ok(Expr { kind: Kind::Call { target: Some(Box::new(target)), name, args }, at });
    };
    let mut args = args.into_iter();
    let mut vars = Vec::with_capacity(names);
    for arg in args.by_ref().take(names) {
        match arg.kind {
            Kind::Ident(name) => vars.push(name),
            _ => return Err(Failure { at: arg.at, message: "argument must be a simple name".to_owned() }),
        }
    }
    if vars.len() == 2 && vars[0] == vars[1] {
        return Err(Failure { at, message: format!("duplicate variable name: {}", vars[0]) });
    }
    let missing = || Failure { at, message: "missing argument".to_owned() };
    let filter = if with_filter { Some(args.next().ok_or_else(missing)?) } else { None };
    let body = args.next().ok_or_else(missing)?;
    if name == "sortBy" {
        return Ok(sort_by(target, vars, body, at));
    }
    let (range, filter) = match (op, filter) {
        (Bind, Some(value)) => (value, None),
        (_, filter) => (target, filter),
    };
    Ok(Expr { kind: Kind::Macro(Box::new(Macro { op, range, vars, filter, body })), at })
}
