//! What an expression is once it has been read.

/// An expression, and the byte of the source where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expr {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Literal(Literal),
    Ident(String),
    /// `of.field`, or `of.?field`.
    Select {
        of: Box<Expr>,
        field: String,
        optional: bool,
    },
    /// `has(of.field)`
    Has {
        of: Box<Expr>,
        field: String,
    },
    /// `of[index]`, or `of[?index]`.
    Index {
        of: Box<Expr>,
        index: Box<Expr>,
        optional: bool,
    },
    /// A function, a method or an operator, which is a function named `_+_`.
    Call {
        target: Option<Box<Expr>>,
        name: String,
        args: Vec<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    If(Box<[Expr; 3]>),
    /// Elements; an optional one is left out when it has no value.
    List(Vec<(Expr, bool)>),
    Map(Vec<(Expr, Expr, bool)>),
    Macro(Box<Macro>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

/// What walks over a list or map, or binds a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Macro {
    pub(super) op: MacroOp,
    pub(super) range: Expr,
    /// One name for the element, or two for its key or index and itself.
    pub(super) vars: Vec<String>,
    /// The condition of those that have one besides what they make.
    pub(super) filter: Option<Expr>,
    pub(super) body: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MacroOp {
    All,
    Exists,
    ExistsOne,
    Filter,
    /// `map`, and `transformList` with two names.
    List,
    /// `transformMap`: the same keys.
    Map,
    /// `transformMapEntry`: the entries of what it makes.
    Entries,
    Bind,
    OptMap,
    OptFlatMap,
}
