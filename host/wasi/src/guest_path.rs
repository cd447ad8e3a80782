//! Paths as a guest writes them, from the names of its preopened directories on.

use wrr_trace::Place;

/// What the guest calls a place.
pub fn shown(names: &[String], place: &Place) -> String {
    let top = names.get(place.preopen as usize).map_or(".", String::as_str);
    match (top, place.path.as_str()) {
        (top, "") => top.to_owned(),
        (".", path) => path.to_owned(),
        (top, path) => format!("{}/{path}", top.trim_end_matches('/')),
    }
}

/// The preopened directory that a path is in, and the rest of the path, `.` for the directory itself: of several that fit the
/// one with the longest name, as wasi-libc has it.
pub fn resolve<'a>(names: &[String], path: &'a str) -> Option<(u32, &'a str)> {
    let fitting = (0_u32..).zip(names).filter_map(|(number, name)| {
        let rest = match name.trim_end_matches('/') {
            "" if name.starts_with('/') => path.strip_prefix('/')?,
            "" | "." => (!path.starts_with('/')).then_some(path)?,
            name => {
                let rest = path.strip_prefix(name)?;
                if !rest.is_empty() && !rest.starts_with('/') {
                    return None;
                }
                rest
            }
        };
        let rest = rest.trim_start_matches('/');
        Some((name.len(), number, if rest.is_empty() { "." } else { rest }))
    });
    // Of equal ones the first.
    fitting.max_by_key(|(len, number, _)| (*len, u32::MAX - number)).map(|(_, n, rest)| (n, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_the_directory_with_the_longest_name_that_fits() {
        let names = ["/", "/work", ".", "data/", "/work"].map(str::to_owned);
        for (path, expected) in [
            ("/work/a/b", Some((1, "a/b"))),
            ("/work", Some((1, "."))),
            ("/works", Some((0, "works"))),
            ("/", Some((0, "."))),
            ("data//x", Some((3, "x"))),
            ("x/y", Some((2, "x/y"))),
            (".", Some((2, "."))),
        ] {
            assert_eq!(resolve(&names, path), expected, "{path}");
            if let Some((preopen, rest)) = expected {
                let path = if rest == "." { String::new() } else { rest.to_owned() };
                assert_eq!(resolve(&names, &shown(&names, &Place { preopen, path })), expected);
            }
        }
        assert_eq!(resolve(&["/work".to_owned()], "x"), None);
    }
}
