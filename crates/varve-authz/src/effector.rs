//! How the rules that apply make a decision, and which of them made it.
//!
//! Casbin's own does the same, but says which rule decided only together with a logger that starts threads, and ends the process
//! on an effect that it does not know.

use std::cell::Cell;

use casbin::{EffectKind, Effector, EffectorStream};

use crate::model::ModelEffect;

thread_local! {
    /// The row that decided last on this thread. The engine gives back nothing but yes or no, and never leaves the thread between
    /// the question and that.
    static DECIDED_BY: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The row that made the decision that was made last on this thread.
pub(crate) fn decided_by() -> Option<usize> {
    DECIDED_BY.get()
}

/// Makes a decision of what the rules say, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecidingEffector(pub(crate) ModelEffect);

impl Effector for DecidingEffector {
    fn new_stream(&self, _expression: &str, _rows: usize) -> Box<dyn EffectorStream> {
        Box::new(Deciding { effect: self.0, row: 0, allowed: None, denied: None })
    }
}

#[derive(Debug)]
struct Deciding {
    effect: ModelEffect,
    /// The row that comes next.
    row: usize,
    /// The first row that allows.
    allowed: Option<usize>,
    /// The row that denies, where that decides.
    denied: Option<usize>,
}

impl EffectorStream for Deciding {
    fn next(&self) -> bool {
        DECIDED_BY.set(self.denied.or(self.allowed));
        self.denied.is_none() && self.allowed.is_some()
    }

    /// Whether the rows that follow can change nothing any more.
    fn push_effect(&mut self, effect: EffectKind) -> bool {
        match effect {
            EffectKind::Allow => self.allowed = self.allowed.or(Some(self.row)),
            EffectKind::Deny if self.effect != ModelEffect::Allow => self.denied = Some(self.row),
            EffectKind::Deny | EffectKind::Indeterminate => {}
        }
        self.row += 1;
        match self.effect {
            ModelEffect::Allow | ModelEffect::First => self.allowed.is_some() || self.denied.is_some(),
            ModelEffect::AllowUnlessDenied => self.denied.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EffectKind::{Allow, Deny, Indeterminate};

    fn decide(effect: ModelEffect, rows: &[EffectKind]) -> (bool, Option<usize>) {
        let mut stream = DecidingEffector(effect).new_stream("", rows.len());
        let _ = rows.iter().any(|row| stream.push_effect(*row));
        (stream.next(), decided_by())
    }

    #[test]
    fn each_effect_finds_the_row_that_decides() {
        use ModelEffect::{Allow as IfAllowed, AllowUnlessDenied, First};
        let rows = [Indeterminate, Allow, Deny, Allow];
        assert_eq!(decide(IfAllowed, &rows), (true, Some(1)));
        assert_eq!(decide(AllowUnlessDenied, &rows), (false, Some(2)));
        assert_eq!(decide(First, &rows), (true, Some(1)));
        assert_eq!(decide(First, &[Deny, Allow]), (false, Some(0)));
        assert_eq!(decide(IfAllowed, &[Deny, Indeterminate]), (false, None));
        for effect in [IfAllowed, AllowUnlessDenied, First] {
            assert_eq!(decide(effect, &[Indeterminate, Indeterminate]), (false, None));
            assert_eq!(decide(effect, &[Indeterminate, Allow, Allow]), (true, Some(1)));
        }
    }
}
