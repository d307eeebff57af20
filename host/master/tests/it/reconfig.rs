//! Reconfiguration: all or nothing.

use windlass_master::{ForceError, ReconfigError, view};

use crate::place::{Place, builder, config, force};

#[tokio::test]
async fn a_reconfig_says_what_it_changes_and_a_plan_changes_nothing() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    let same = master.reconfig(false).await.unwrap();
    assert!(!same.changed && same.generation == 1, "{same:?}");

    place.write(&config(&builder("b2", "")));
    let plan = master.reconfig(true).await.unwrap();
    assert!(plan.changed && plan.plan_only && plan.generation == 1, "{plan:?}");
    assert_eq!(master.status().builders.len(), 1);

    let done = master.reconfig(false).await.unwrap();
    assert_eq!(done.plan, plan.plan);
    assert_eq!((done.generation, done.plan.changes.len()), (2, 1), "{:?}", done.plan);
    assert_eq!(done.plan.changes[0].name, "b2");
    assert_eq!(master.status().builders.len(), 2);
    assert_eq!(master.status().generation, 2);
    master.force(force("b2")).await.unwrap();
    master.shutdown().await;
}

#[tokio::test]
async fn a_component_is_added_replaced_and_removed_by_its_file() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    place.drop_plugin("mine", "least-loaded");
    let added = master.reconfig(false).await.unwrap().plugins;
    assert_eq!(added.added.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["mine"]);
    assert_eq!(added.unchanged.len(), windlass_plugins::bundled().len());

    place.write(&config(&builder("b2", "next_slave = 'mine:least-loaded'")));
    assert!(master.reconfig(false).await.unwrap().plugins.is_empty());
    let mine = master.plugins().unwrap().into_iter().find(|p| p.name == "mine").unwrap();
    assert_eq!(mine.used_by, ["builder b2 (next-slave least-loaded)"]);
    assert!(mine.current && mine.file.is_some());
    let policies = master.status().policies;
    assert_eq!(policies.len(), 1);
    assert_eq!(policies[0].digest, Some(mine.digest));

    // What the configuration uses can't be taken from under it.
    place.drop_plugin("mine", "sticky");
    let refused = master.reconfig(false).await.unwrap_err();
    assert!(matches!(&refused, ReconfigError::Invalid(faults) if faults.plugins.is_empty()), "{refused}");
    assert!(refused.details()[0].contains("mine"), "{:?}", refused.details());
    let still = master.plugins().unwrap().into_iter().find(|p| p.name == "mine").unwrap();
    assert_eq!(still.digest, mine.digest);

    place.write(&config(&builder("b2", "next_slave = 'mine:sticky'")));
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(done.plugins.replaced.len(), 1);
    assert_eq!(done.plugins.replaced[0].old, mine.digest);

    place.write(&config(""));
    std::fs::remove_file(place.path("plugins/mine.wasm")).unwrap();
    let done = master.reconfig(false).await.unwrap();
    assert_eq!(done.plugins.removed.len(), 1);
    assert_eq!(done.generation, 5);
    master.shutdown().await;
}

#[tokio::test]
async fn whatever_is_broken_leaves_all_as_it_was_and_every_error_is_told() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    std::fs::write(place.path("plugins/one.wasm"), b"not a component").unwrap();
    std::fs::write(place.path("plugins/two.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let error = master.reconfig(false).await.unwrap_err();
    assert!(matches!(&error, ReconfigError::Invalid(faults) if faults.plugins.len() == 2), "{error:?}");
    assert!(error.details()[0].contains("one") && error.details()[1].contains("two"), "{error:?}");
    assert_eq!(error.to_string(), "nothing was changed: 2 plugins cannot be loaded");

    // What uses a broken plugin is not wrong by itself; what is wrong besides is told with it.
    place.drop_plugin("mine", "least-loaded");
    let uses = builder("b2", "next_slave = 'one:x'")
        + &builder("b3", "next_slave = 'mine:least-loaded'\nstepz = []");
    place.write(&config(&uses));
    let told = master.reconfig(false).await.unwrap_err();
    let text = told.details().concat();
    assert_eq!(told.details().len(), 3, "{text}");
    assert!(text.contains("plugin `one` cannot be loaded") && text.contains("stepz"), "{text}");
    assert!(!text.contains("no plugin"), "{text}");
    assert_eq!(told.diagnostics()[0]["code"], "bad-plugin", "{:?}", told.diagnostics());
    for plugin in ["one", "two", "mine"] {
        std::fs::remove_file(place.path(&format!("plugins/{plugin}.wasm"))).unwrap();
    }

    place.write(&(config("") + "[[builders]]\nname = 'b1'\nworkers = 'nobody'\nstepz = []\n"));
    let error = master.reconfig(false).await.unwrap_err();
    let text = error.details().concat();
    assert!(text.contains("nobody") && text.contains("stepz"), "{text}");
    assert!(error.diagnostics().as_array().unwrap().len() >= 3, "{:?}", error.diagnostics());

    place.write(&config("").replace("[master]", "[master]\nstate_dir = 'elsewhere'"));
    let error = master.reconfig(false).await.unwrap_err();
    assert!(matches!(error, ReconfigError::Refused(_)), "{error}");
    assert!(error.details()[0].contains("elsewhere"), "{:?}", error.details());
    let plan = master.reconfig(true).await.unwrap();
    assert_eq!(plan.plan.refused.len(), 1);

    std::fs::remove_file(place.path("master.toml")).unwrap();
    assert!(matches!(master.reconfig(false).await, Err(ReconfigError::Read { .. })));
    let status = master.status();
    assert_eq!((status.generation, status.builders.len()), (1, 1));
    master.force(force("b1")).await.unwrap();
    master.shutdown().await;
    assert!(matches!(master.reconfig(false).await, Err(ReconfigError::ShuttingDown)));
}

#[tokio::test]
async fn an_order_is_checked_and_completed_from_the_configuration() {
    let poller =
        "[[git_pollers]]\nname = 'p'\nrepository = '/nowhere/a'\nproject = 'x'\npoll_interval = '1h'\n";
    let git = builder("g", "steps = [{ use = 'git' }]");
    let place = Place::new(&config(&(git.clone() + poller)));
    let master = place.start().await;
    let error = master.force(force("g1")).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no builder `g1`; there are `b1`, `g`");

    let order = view::Force {
        branch: Some("main".to_owned()),
        reason: Some("why not".to_owned()),
        owner: Some("ana".to_owned()),
        properties: [("level".to_owned(), 7.into())].into(),
        ..force("g")
    };
    let mut listener = master.subscribe();
    let forced = master.force(order).await.unwrap();
    assert!(
        matches!(listener.next().await, Some(view::Event::Submitted { buildset, .. }) if buildset == forced.buildset)
    );
    let buildset = master.buildset(forced.buildset).unwrap().unwrap();
    assert_eq!(buildset.reason, "force by ana: why not");
    assert_eq!(buildset.requests[0].id, forced.requests[0]);

    let bad = view::Force { properties: [("a%b".to_owned(), 1.into())].into(), ..force("g") };
    assert!(matches!(master.force(bad).await, Err(ForceError::BadProperty { .. })));
    let bad = view::Force { branch: Some("main; rm".to_owned()), ..force("g") };
    let refused = master.force(bad).await.unwrap_err().to_string();
    assert!(refused.starts_with("the branch `main; rm` is refused: `[validation] branch` is"), "{refused}");
    let second = poller.replace("'p'", "'q'").replace("/a", "/b");
    place.write(&config(&(git + poller + &second)));
    master.reconfig(false).await.unwrap();
    let error = master.force(force("g")).await.unwrap_err();
    assert!(error.to_string().contains("several are polled: /nowhere/a, /nowhere/b"), "{error}");
    master.force(view::Force { repository: Some("/nowhere/b".to_owned()), ..force("g") }).await.unwrap();
    master.shutdown().await;
    assert!(matches!(master.force(force("g")).await, Err(ForceError::ShuttingDown)));
}
