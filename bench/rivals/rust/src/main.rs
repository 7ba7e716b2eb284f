//! cmprs LEFT RIGHT [m]: exit 0 when two files or two trees are equal, 1 when they differ.
//!
//! Files by 256 KiB reads, or mapped with a third argument; trees by sorted merge on rayon's threads.
//! Anything that cannot be read counts as a difference. It counts and keeps no list of what differs.

use rayon::prelude::*;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Result};
use std::path::{Path, PathBuf};

const BUFFER: usize = 256 << 10;

thread_local! {
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::new((vec![0; BUFFER], vec![0; BUFFER]));
}

fn same_file(left: &Path, right: &Path, mapped: bool) -> Result<bool> {
    let mut a = File::open(left)?;
    let mut b = File::open(right)?;
    let size = a.metadata()?.len();
    if size != b.metadata()?.len() {
        return Ok(false);
    }
    if size == 0 {
        return Ok(true);
    }
    if mapped {
        // Safe for the bench only: nobody shortens these files while they are mapped.
        let a = unsafe { memmap2::Mmap::map(&a)? };
        let b = unsafe { memmap2::Mmap::map(&b)? };
        return Ok(a[..] == b[..]);
    }
    BUFFERS.with(|buffers| {
        let (x, y) = &mut *buffers.borrow_mut();
        let mut remaining = size as usize;
        while remaining > 0 {
            let n = remaining.min(BUFFER);
            a.read_exact(&mut x[..n])?;
            b.read_exact(&mut y[..n])?;
            if x[..n] != y[..n] {
                return Ok(false);
            }
            remaining -= n;
        }
        Ok(true)
    })
}

/// Name and "is a directory" of each entry, sorted by name.
fn list(path: &Path) -> Result<Vec<(OsString, bool)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        entries.push((entry.file_name(), entry.file_type()?.is_dir()));
    }
    entries.sort_unstable();
    Ok(entries)
}

/// How many differences two trees have.
fn differences(left: &Path, right: &Path) -> usize {
    let (Ok(a), Ok(b)) = (list(left), list(right)) else {
        return 1;
    };
    let (mut i, mut j) = (0, 0);
    let mut count = 0;
    let mut files = Vec::new();
    let mut directories = Vec::new();
    while i < a.len() || j < b.len() {
        if j >= b.len() || (i < a.len() && a[i].0 < b[j].0) {
            count += 1;
            i += 1;
        } else if i >= a.len() || a[i].0 > b[j].0 {
            count += 1;
            j += 1;
        } else {
            if a[i].1 != b[j].1 {
                count += 1;
            } else if a[i].1 {
                directories.push(&a[i].0);
            } else {
                files.push(&a[i].0);
            }
            i += 1;
            j += 1;
        }
    }
    count += files
        .par_iter()
        .with_min_len(16)
        .filter(|name| !same_file(&left.join(name), &right.join(name), false).unwrap_or(false))
        .count();
    count
        + directories
            .into_par_iter()
            .map(|name| differences(&left.join(name), &right.join(name)))
            .sum::<usize>()
}

fn main() {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (left, right) = (PathBuf::from(&arguments[0]), PathBuf::from(&arguments[1]));
    let equal = if left.is_dir() {
        differences(&left, &right) == 0
    } else {
        same_file(&left, &right, arguments.len() > 2).unwrap_or(false)
    };
    std::process::exit(if equal { 0 } else { 1 });
}
