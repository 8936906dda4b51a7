//! A set of fields of an object: a tree whose nodes are steps, each of which may itself be in the set.
//!
//! That a field is in the set says nothing of those below it. Operations work in place where they can, and steps borrow
//! their names from what the set was made of.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/fieldpath`, `Set`.

use std::cmp::Ordering;

use super::step::Step;
use super::types::Type;

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set<'a> {
    /// Sorted by step; none is without purpose: it is a member or has some below.
    nodes: Vec<Node<'a>>,
}

/// A step, and what of it and below it is in the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    pub step: Step<'a>,
    pub is_member: bool,
    pub below: Set<'a>,
}

impl<'a> Set<'a> {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes, in their order.
    #[must_use]
    pub fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    fn find(&self, step: &Step<'_>) -> Result<usize, usize> {
        // What is added is most often the next.
        match self.nodes.last() {
            Some(last) if last.step < *step => Err(self.nodes.len()),
            _ => self.nodes.binary_search_by(|node| node.step.cmp(step)),
        }
    }

    /// The node of a step.
    #[must_use]
    pub fn get(&self, step: &Step<'_>) -> Option<&Node<'a>> {
        self.find(step).ok().map(|i| &self.nodes[i])
    }

    /// Whether the field at the end of these steps is in the set.
    #[must_use]
    pub fn has(&self, path: &[Step<'_>]) -> bool {
        match path {
            [] => false,
            [step] => self.get(step).is_some_and(|node| node.is_member),
            [step, rest @ ..] => self.get(step).is_some_and(|node| node.below.has(rest)),
        }
    }

    /// Adds a step, if it or something below it is in the set.
    pub fn add(&mut self, step: Step<'a>, is_member: bool, below: Set<'a>) {
        if !is_member && below.is_empty() {
            return;
        }
        match self.find(&step) {
            Err(i) => self.nodes.insert(i, Node { step, is_member, below }),
            Ok(i) => {
                let node = &mut self.nodes[i];
                node.is_member |= is_member;
                if node.below.is_empty() {
                    node.below = below;
                } else {
                    node.below.unite(below);
                }
            }
        }
    }

    /// The set with names of its own.
    #[must_use]
    pub fn into_owned(self) -> Set<'static> {
        let own = |node: Node<'a>| Node {
            step: node.step.into_owned(),
            is_member: node.is_member,
            below: node.below.into_owned(),
        };
        Set { nodes: self.nodes.into_iter().map(own).collect() }
    }

    /// Adds a field by its path.
    pub fn insert(&mut self, path: &[Step<'a>]) {
        if let [first, rest @ ..] = path {
            let mut below = Set::default();
            below.insert(rest);
            self.add(first.clone(), rest.is_empty(), below);
        }
    }

    /// Adds the fields of another set.
    pub fn unite(&mut self, other: Set<'a>) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let mut own = std::mem::take(&mut self.nodes).into_iter().peekable();
        let mut others = other.nodes.into_iter().peekable();
        self.nodes.reserve(own.len().max(others.len()));
        loop {
            let order = match (own.peek(), others.peek()) {
                (Some(a), Some(b)) => a.step.cmp(&b.step),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            match order {
                Ordering::Less => self.nodes.extend(own.next()),
                Ordering::Greater => self.nodes.extend(others.next()),
                Ordering::Equal => {
                    if let (Some(mut node), Some(other)) = (own.next(), others.next()) {
                        node.is_member |= other.is_member;
                        node.below.unite(other.below);
                        self.nodes.push(node);
                    }
                }
            }
        }
    }

    /// Takes out the fields that another set has; those below them stay.
    pub fn subtract(&mut self, other: &Set<'_>) {
        self.subtract_with(other, |node, other| {
            node.is_member &= !other.is_member;
            node.below.subtract(&other.below);
        });
    }

    /// Takes out the fields that another set has, with everything below them.
    pub fn subtract_recursively(&mut self, other: &Set<'_>) {
        self.subtract_with(other, |node, other| {
            if other.is_member {
                node.is_member = false;
                node.below = Set::default();
            } else {
                node.below.subtract_recursively(&other.below);
            }
        });
    }

    fn subtract_with(&mut self, other: &Set<'_>, each: impl Fn(&mut Node<'a>, &Node<'_>)) {
        let mut others = other.nodes.iter().peekable();
        self.nodes.retain_mut(|node| {
            while others.next_if(|other| other.step < node.step).is_some() {}
            if let Some(other) = others.next_if(|other| other.step == node.step) {
                each(node, other);
            }
            node.is_member || !node.below.is_empty()
        });
    }

    /// The fields that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Set<'_>) -> Set<'a> {
        let mut others = other.nodes.iter().peekable();
        let mut both = Set::default();
        for node in &self.nodes {
            while others.next_if(|other| other.step < node.step).is_some() {}
            let Some(other) = others.next_if(|other| other.step == node.step) else { continue };
            both.add(node.step.clone(), node.is_member && other.is_member, node.below.intersection(&other.below));
        }
        both
    }

    /// Adds the fields of structs that only lead to others: what has `.spec.a` then has `.spec` too, if both are named in
    /// the type.
    #[must_use]
    pub(super) fn with_named(&self, type_: Option<Type<'_>>) -> Set<'a> {
        let atom = type_.map(Type::atom).unwrap_or_default();
        let nodes = self.nodes.iter().map(|node| {
            let (declared, child) = match &node.step {
                Step::Field(name) => match atom.map {
                    Some(map) => (map.field(name).is_some(), map.child(name)),
                    None => (false, None),
                },
                Step::Key(_) => (false, atom.list.map(|list| list.element)),
                Step::Value(_) | Step::Index(_) => (false, None),
            };
            let leads = !node.below.is_empty() && declared;
            Node { step: node.step.clone(), is_member: node.is_member || leads, below: node.below.with_named(child) }
        });
        Set { nodes: nodes.collect() }
    }

    /// Takes out the field at a path of names, with everything below it.
    pub(super) fn cut(&mut self, path: &[&str]) {
        let [name, rest @ ..] = path else { return };
        let Ok(i) = self.find(&Step::Field((*name).into())) else { return };
        if rest.is_empty() {
            self.nodes.remove(i);
            return;
        }
        self.nodes[i].below.cut(rest);
        if !self.nodes[i].is_member && self.nodes[i].below.is_empty() {
            self.nodes.remove(i);
        }
    }

    /// Keeps the fields on the way to one of these paths of names, and everything below it; `*` is any step.
    pub(super) fn keep(&mut self, paths: &[&[&str]]) {
        if paths.iter().any(|path| path.is_empty()) {
            return;
        }
        self.nodes.retain_mut(|node| {
            let leads = |path: &&&[&str]| {
                let first = path.first().copied().unwrap_or_default();
                first == "*" || matches!(&node.step, Step::Field(name) if *name == first)
            };
            let rest: Vec<&[&str]> = paths.iter().filter(leads).map(|path| &path[1..]).collect();
            if rest.is_empty() {
                return false;
            }
            node.below.keep(&rest);
            node.is_member || !node.below.is_empty()
        });
    }

    /// Takes out one field, and leaves those below it.
    pub(super) fn release(&mut self, path: &[&str]) {
        let [name, rest @ ..] = path else { return };
        let Ok(i) = self.find(&Step::Field((*name).into())) else { return };
        let node = &mut self.nodes[i];
        if rest.is_empty() {
            node.is_member = false;
        } else {
            node.below.release(rest);
        }
        if !node.is_member && node.below.is_empty() {
            self.nodes.remove(i);
        }
    }

    /// Makes fields that are owned as a whole by now of those that were owned in parts.
    ///
    /// Source: upstream's `ReconcileFieldSetWithSchema`.
    pub(super) fn reconcile(&mut self, type_: Type<'_>) {
        let atom = type_.atom();
        for node in &mut self.nodes {
            let child = match (&node.step, atom.map, atom.list) {
                (Step::Field(name), Some(map), _) => map.child(name),
                (_, None, Some(list)) => Some(list.element),
                _ => None,
            };
            let Some(child) = child.filter(|_| !node.below.is_empty()) else { continue };
            if child.is_atomic() {
                node.is_member = true;
                node.below = Set::default();
            } else {
                node.below.reconcile(child);
            }
        }
    }

    /// The paths of all fields, as conflicts name them.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.tell_paths("", &mut paths);
        paths
    }

    fn tell_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        for node in self.nodes.iter().filter(|node| node.is_member) {
            paths.push(format!("{prefix}{}", node.step));
        }
        for node in self.nodes.iter().filter(|node| !node.below.is_empty()) {
            node.below.tell_paths(&format!("{prefix}{}", node.step), paths);
        }
    }
}
