//! The cases by which CEL's own specification pins the language, as far as they are about what we have: by its
//! chapters, in our words.

use serde_json::json;

use super::*;

/// No value: the evaluation fails.
const FAILS: Option<fn() -> Json> = None;

/// Chapter, expression, what it comes to.
type Row = (&'static str, &'static str, Option<fn() -> Json>);

macro_rules! is {
    ($($json:tt)+) => { Some(|| json!($($json)+)) };
}

const ROWS: &[Row] = &[
    ("conditional", "true ? 3 : 4", is!(3)),
    ("conditional", "false ? 'a' : 'b'", is!("b")),
    ("conditional", "3 / 0 > 1 ? 'a' : 'b'", FAILS),
    ("conditional", "true ? 'a' : 3", is!("a")),
    ("conditional", "'a' ? true : false", FAILS),
    ("conditional", "true ? 1 : 1 / 0", is!(1)),
    ("and", "true && true", is!(true)),
    ("and", "true && false", is!(false)),
    ("and", "false && 7", is!(false)),
    ("and", "'cow' && false", is!(false)),
    ("and", "false && 1 / 0 == 0", is!(false)),
    ("and", "1 / 0 == 0 && false", is!(false)),
    ("and", "true && 1 / 0 == 0", FAILS),
    ("and", "1 / 0 == 0 && true", FAILS),
    ("and", "'a' && 'b'", FAILS),
    ("or", "false || false", is!(false)),
    ("or", "false || true", is!(true)),
    ("or", "true || 7", is!(true)),
    ("or", "'cow' || true", is!(true)),
    ("or", "true || 1 / 0 == 0", is!(true)),
    ("or", "1 / 0 == 0 || true", is!(true)),
    ("or", "false || 1 / 0 == 0", FAILS),
    ("or", "1 / 0 == 0 || false", FAILS),
    ("or", "'a' || 'b'", FAILS),
    ("not", "!true == false", is!(true)),
    ("not", "!0", FAILS),
    ("exists", "[4, 5, 6].exists(n, n == 5)", is!(true)),
    ("exists", "[4, 5, 6].exists(n, n > 6)", is!(false)),
    ("exists", "[4, 'b', 6].exists(n, n != '4')", is!(true)),
    ("exists", "[4, 5].exists(n, n / 0 == 1)", FAILS),
    ("exists", "[0, 2].exists(n, 4 / n == 2)", is!(true)),
    ("exists", "[].exists(n, n == 1)", is!(false)),
    ("exists", "{'a': 1, 'b': 2}.exists(k, k == 'b')", is!(true)),
    ("all", "[4, 5, 6].all(n, n > 3)", is!(true)),
    ("all", "[4, 5, 6].all(n, n == 4)", is!(false)),
    ("all", "[4, 'b', 6].all(n, n % 2 == 0)", FAILS),
    ("all", "[1, 2, 3].all(n, 6 / (2 - n) == 6)", is!(false)),
    ("all", "[].all(n, n > 0)", is!(true)),
    ("all", "{'a': 1, 'b': 2}.all(k, k == 'b')", is!(false)),
    ("exists_one", "[7, 8, 9].exists_one(n, n % 4 == 0)", is!(true)),
    ("exists_one", "[7, 8, 9].exists_one(n, n > 7)", is!(false)),
    ("exists_one", "[].exists_one(n, true)", is!(false)),
    ("exists_one", "[2, 1, 0].exists_one(n, 4 / n > 1)", FAILS),
    ("map", "[].map(n, n + 1)", is!([])),
    ("map", "[2, 4].map(n, n * n)", is!([4, 16])),
    ("map", "[1, 0].map(n, 1 / n)", FAILS),
    ("map", "[1, 2, 3].map(n, n > 1, -n)", is!([-2, -3])),
    ("filter", "[0, 1, 2, 3].filter(n, n % 2 == 1)", is!([1, 3])),
    ("filter", "[1].filter(n, n > 1)", is!([])),
    ("filter", "[2, 0].filter(n, 2 / n == 1)", FAILS),
    ("lists", "[1, 2] + [3] == [1, 2, 3]", is!(true)),
    ("lists", "[1, 2] + [3] == [3, 1, 2]", is!(false)),
    ("lists", "[7, 8, 9][1]", is!(8)),
    ("lists", "[7, 8, 9][3]", FAILS),
    ("lists", "[7, 8, 9][-1]", FAILS),
    ("lists", "[7, 8, 9][1.0]", is!(8)),
    ("lists", "[7, 8, 9][0.5]", FAILS),
    ("lists", "'b' in ['a', 'b'] && !(3 in [])", is!(true)),
    ("lists", "1.0 in [1, 2]", is!(true)),
    ("maps", "{'name': 1024}.name", is!(1024)),
    ("maps", "{'holes': 1}['name']", FAILS),
    ("maps", "{'holes': 1}.name", FAILS),
    ("maps", "has({'a': null}.a) && !has({'a': 1}.b)", is!(true)),
    ("maps", "'a' in {'a': 1} && !(1 in {'a': 1})", is!(true)),
    ("maps", "{'a': 1, 'b': 2} == {'b': 2.0, 'a': 1}", is!(true)),
    ("maps", "{'a': 1, 'a': 2}", FAILS),
    ("equality", "1 == 1.0 && 1 != 2 && 'a' != 'A' && null == null", is!(true)),
    ("equality", "1 == true || 1 == '1' || [] == {} || null == 0", is!(false)),
    ("equality", "[1, [2, 'a']] == [1, [2, 'a']] && [1] != [1, 2]", is!(true)),
    ("order", "false < true && 'a' < 'aa' && 'Z' < 'a' && -1 < 0", is!(true)),
    ("order", "1 < 1.5 && 1.5 < 2 && 2.0 <= 2", is!(true)),
    ("order", "1 < '2'", FAILS),
    ("integers", "2 + 3 * 4 - 10 / 3", is!(11)),
    ("integers", "-7 / 2 == -3 && -7 % 3 == -1 && 7 % -3 == 1", is!(true)),
    ("integers", "9223372036854775807 * 2", FAILS),
    ("integers", "-9223372036854775808 - 1", FAILS),
    ("integers", "-(-9223372036854775808)", FAILS),
    ("integers", "0xfF + 1", is!(256)),
    ("doubles", "4.25 + 9.25", is!(13.5)),
    ("doubles", "-(2.5) * 2.0 / 4.0 == -1.25", is!(true)),
    ("doubles", "47.5 % 5.5", FAILS),
    ("doubles", "1.5 + 1", FAILS),
    ("strings", "size('') == 0 && size('four') == 4 && size('\u{43a}\u{43e}\u{442}') == 3", is!(true)),
    ("strings", "'foobar'.startsWith('foo') && 'foobar'.startsWith('') && !''.startsWith('foo')", is!(true)),
    ("strings", "'foobar'.endsWith('bar') && !'foobar'.endsWith('foo')", is!(true)),
    ("strings", "'abracadabra'.contains('cad') && !'abc'.contains('d')", is!(true)),
    ("strings", "'he' + 'llo' + '' == 'hello'", is!(true)),
    ("strings", "'hubba'.matches('ubb') && !'hubba'.matches('^ubb')", is!(true)),
    ("strings", "matches('cows', '^c..s$') && 'a.b'.matches('a\\\\.b')", is!(true)),
    ("strings", "'\\x41\\u00e9\\101' == 'A\u{e9}A'", is!(true)),
    ("strings", "r'\\d' == '\\\\d' && '''a'b''' == \"a'b\"", is!(true)),
    (
        "conversions",
        "double(0) == 0.0 && double('-987.654') == -987.654 && double('6e23') == 6e23",
        is!(true),
    ),
    ("conversions", "[int(-7.9), int(1.9), int('987'), int(11.5)]", is!([-7, 1, 987, 11])),
    ("conversions", "int(1e99)", FAILS),
    ("conversions", "int('3.5')", FAILS),
    (
        "conversions",
        "[string(123), string(-4.5e-3), string(true), string('s')]",
        is!(["123", "-0.0045", "true", "s"]),
    ),
    ("conversions", "bool('true') && !bool('FALSE')", is!(true)),
    ("conversions", "bool('yes')", FAILS),
    ("parsing", "1 + 2 == 3 == true", is!(true)),
    ("parsing", "!!true && ---1 == -1", is!(true)),
    ("parsing", "{'a': [1, 2,], 'b': {},}.a[1] // the second", is!(2)),
    ("parsing", "(((((((1)))))))", is!(1)),
];

#[test]
fn the_language_does_what_its_specification_says() {
    assert!(ROWS.len() >= 100, "{}", ROWS.len());
    for (chapter, text, expected) in ROWS {
        let parsed =
            Expression::parse(text, &[]).unwrap_or_else(|error| panic!("{chapter}: {text}: {error}"));
        let found = parsed.evaluate(&serde_json::Map::new());
        match expected {
            Some(expected) => assert_eq!(found, Ok(expected()), "{chapter}: {text}"),
            None => assert!(found.is_err(), "{chapter}: {text} came to {found:?}"),
        }
    }
}

/// What CEL has and we do not is refused when it is parsed, not when it is too late.
#[test]
fn what_is_left_out_of_the_language_is_refused_by_name() {
    for (text, word) in [
        ("1u", "unsigned"),
        ("b'abc'", "bytes"),
        ("type(1)", "type"),
        ("dyn(1)", "dyn"),
        ("timestamp('2004-09-16T23:59:59Z')", "timestamp"),
        ("duration('1h')", "duration"),
        ("uint(1)", "uint"),
        ("Message{a: 1}", "Message"),
    ] {
        let error = Expression::parse(text, &["props"]).unwrap_err();
        assert!(error.message.contains(word), "{text}: {error}");
    }
}
