//! walkrs jwalk|ignore|walkdir ROOT: every entry below a directory, by one of Rust's walkers. Prints how many there
//! are and the bytes of their names.
//!
//! walkrs globset NAMES GLOBS ROUNDS: which globs match each name, lists of lines in files. Prints, for each round,
//! how many matches there are and the milliseconds they took.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

fn bytes(name: &OsStr) -> usize {
    name.as_bytes().len()
}

fn jwalk(root: &str) -> (usize, usize) {
    let walk = jwalk::WalkDir::new(root).skip_hidden(false).min_depth(1);
    walk.into_iter().flatten().fold((0, 0), |(count, sum), entry| {
        (count + 1, sum + bytes(&entry.file_name))
    })
}

fn walkdir(root: &str) -> (usize, usize) {
    let walk = walkdir::WalkDir::new(root).min_depth(1);
    walk.into_iter().flatten().fold((0, 0), |(count, sum), entry| {
        (count + 1, sum + bytes(entry.file_name()))
    })
}

fn ignore(root: &str) -> (usize, usize) {
    let (count, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut builder = ignore::WalkBuilder::new(root);
    builder.standard_filters(false).threads(threads);
    builder.build_parallel().run(|| {
        Box::new(|entry| {
            if let Ok(entry) = entry {
                if entry.depth() > 0 {
                    count.fetch_add(1, Relaxed);
                    sum.fetch_add(bytes(entry.file_name()), Relaxed);
                }
            }
            ignore::WalkState::Continue
        })
    });
    (count.into_inner(), sum.into_inner())
}

fn globset(names: &str, globs: &str, rounds: usize) {
    let names = std::fs::read_to_string(names).expect("names");
    let names: Vec<&str> = names.lines().collect();
    let mut builder = globset::GlobSetBuilder::new();
    for glob in std::fs::read_to_string(globs).expect("globs").lines() {
        builder.add(globset::Glob::new(glob).expect("a glob"));
    }
    let set = builder.build().expect("a set");
    let mut matches = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let mut hits = 0;
        for name in &names {
            set.matches_into(name, &mut matches);
            hits += matches.len();
        }
        println!("{hits} {}", began.elapsed().as_secs_f64() * 1000.0);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (count, sum) = match arguments[0].as_str() {
        "jwalk" => jwalk(&arguments[1]),
        "ignore" => ignore(&arguments[1]),
        "walkdir" => walkdir(&arguments[1]),
        _ => {
            let rounds = arguments[3].parse().expect("a number of rounds");
            return globset(&arguments[1], &arguments[2], rounds);
        }
    };
    println!("{count} {sum}");
}
