//! The plans of builds: what each goes by if it is taken up again.
//!
//! A builder's digest is computed once for each configuration. The builder itself goes along with the claims of its
//! builds until one of them is durable, and with none thereafter.

use std::collections::HashMap;
use std::sync::Arc;

use windlass_core::builder::Builder;
use windlass_core::digest::Digest;
use windlass_core::persist::Persist;

/// Builders by name, as their newest claims had them.
#[derive(Default)]
pub(super) struct Plans(HashMap<String, Plan>);

struct Plan {
    builder: Arc<Builder>,
    digest: Digest,
    /// The store has it.
    kept: bool,
}

impl Plans {
    /// The digest of a builder, and what keeps it, unless it is kept.
    pub(super) fn of(&mut self, builder: &Arc<Builder>) -> (Digest, Option<Persist>) {
        let plan = self.find(builder);
        let digest = plan.digest;
        let put = (!plan.kept).then(|| Persist::PutPlan { digest, builder: Arc::clone(builder) });
        (digest, put)
    }

    /// A claim that took a builder along is durable.
    pub(super) fn kept(&mut self, builder: &Arc<Builder>) {
        self.find(builder).kept = true;
    }

    fn find(&mut self, builder: &Arc<Builder>) -> &mut Plan {
        let plan = self.0.entry(builder.name.clone()).or_insert_with(|| Plan {
            builder: Arc::clone(builder),
            digest: builder.digest(),
            kept: false,
        });
        if !Arc::ptr_eq(&plan.builder, builder) {
            let digest = builder.digest();
            let kept = plan.kept && plan.digest == digest;
            *plan = Plan { builder: Arc::clone(builder), digest, kept };
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_goes_along_until_it_is_kept_and_again_when_it_has_changed() {
        let (one, same) = (Arc::new(Builder::bare("b", &["w"])), Arc::new(Builder::bare("b", &["w"])));
        let other = Arc::new(Builder::bare("b", &["w", "x"]));
        let mut plans = Plans::default();
        let goes = |plans: &mut Plans, builder: &Arc<Builder>| plans.of(builder).1.is_some();
        assert!(goes(&mut plans, &one) && goes(&mut plans, &one));
        plans.kept(&one);
        assert!(!goes(&mut plans, &one) && !goes(&mut plans, &same));
        assert!(goes(&mut plans, &other), "another configuration");
        assert!(goes(&mut plans, &one), "only the newest is known");
        assert_eq!(plans.of(&one).0, one.digest());
    }
}
