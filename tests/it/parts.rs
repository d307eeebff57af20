//! A master whose configuration lies in several files.

use windlass_tests::site::Site;

const MATRIX: &str = r#"
[[builders]]
name = "b-%(matrix:n)s"
workers = ["w1"]
matrix = { n = [1, 2] }
steps = [{ use = "shell-command", args = { command = "echo %(matrix:n)s and %(prop:n)s" } }]
"#;

#[test]
fn builders_of_an_included_file_build_and_a_reconfig_sees_what_changed_in_it() {
    let site = Site::new(&["w1"], "");
    let main = site.path("master.toml");
    let text = std::fs::read_to_string(&main).unwrap();
    std::fs::write(&main, format!("include = \"parts/*.toml\"\n{text}")).unwrap();
    std::fs::create_dir(site.path("parts")).unwrap();
    std::fs::write(site.path("parts/b.toml"), MATRIX).unwrap();
    let site = site.start();
    let build = site.build("b-2");
    assert_eq!((&build["outcome"], &build["builder"]), (&"success".into(), &"b-2".into()), "{build}");

    std::fs::write(site.path("parts/b.toml"), MATRIX.replace("[1, 2]", "[1, 3]")).unwrap();
    let plan = site.ok(&["reconfig", "--plan", "--json"]);
    let changes: Vec<String> = plan["plan"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| format!("{} {}", change["how"].as_str().unwrap(), change["name"].as_str().unwrap()))
        .collect();
    assert_eq!(changes, ["removed b-2", "added b-3"], "{plan}");
    site.ok(&["reconfig", "--json"]);
    assert_eq!(site.build("b-3")["outcome"], "success");

    std::fs::write(site.path("parts/b.toml"), MATRIX.replace("w1", "w7")).unwrap();
    let refused = site.windlass(&["reconfig"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("parts/b.toml:4:12") && said.contains("there is no worker `w7`"), "{said}");
}
