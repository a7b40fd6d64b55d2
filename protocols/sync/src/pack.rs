//! Sorted numbers, sets of partitions and two-bit codes as byte strings: a session that finds a thousand
//! differences among a million keys sends about as many numbers, and pays for each byte of them.

use bytes::Bytes;
use henge_types::limits::PARTITIONS_MAX;
use henge_types::{Partition, PartitionCount};

use crate::Fault;

const RUNS: u8 = 0;
const BITMAP: u8 = 1;

/// Appends `number`, seven bits a byte, the low ones first; the top bit says that more follow.
pub(crate) fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return bytes.push(low & 0x7f);
        }
        bytes.push(low | 0x80);
    }
}

/// Takes a number off the front.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Result<u64, Fault> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Fault::Malformed)?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        if (low << shift) >> shift != low {
            break;
        }
        number |= low << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Fault::Malformed)
}

/// Takes `count` bytes off the front.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Fault> {
    let (front, rest) = bytes.split_at_checked(count).ok_or(Fault::Malformed)?;
    *bytes = rest;
    Ok(front)
}

/// Rising numbers: the first, and then by how much more than one each is larger than the one before.
pub(crate) fn pack_rising(numbers: impl IntoIterator<Item = u64>) -> Bytes {
    let mut bytes = Vec::new();
    let mut least = 0;
    for number in numbers {
        push_number(&mut bytes, number.saturating_sub(least));
        least = number.saturating_add(1);
    }
    bytes.into()
}

/// At most `max` of them.
pub(crate) fn unpack_rising(mut bytes: &[u8], max: usize) -> Result<Vec<u64>, Fault> {
    let mut numbers = Vec::new();
    let mut least = Some(0u64);
    while !bytes.is_empty() {
        let number = least.and_then(|least| least.checked_add(take_number(&mut bytes).ok()?));
        let number = number.filter(|_| numbers.len() < max).ok_or(Fault::Malformed)?;
        numbers.push(number);
        least = number.checked_add(1);
    }
    Ok(numbers)
}

/// Numbers in any order.
pub(crate) fn pack_numbers(numbers: impl IntoIterator<Item = u64>) -> Bytes {
    let mut bytes = Vec::new();
    numbers.into_iter().for_each(|number| push_number(&mut bytes, number));
    bytes.into()
}

/// Exactly `count` of them.
pub(crate) fn unpack_numbers(mut bytes: &[u8], count: usize) -> Result<Vec<u64>, Fault> {
    let numbers: Result<Vec<u64>, Fault> = (0..count).map(|_| take_number(&mut bytes)).collect();
    if bytes.is_empty() { numbers } else { Err(Fault::Malformed) }
}

/// A rising list of partitions, as runs or as a bitmap, whichever is shorter. None is no byte.
pub(crate) fn pack_partitions(partitions: &[Partition]) -> Bytes {
    let Some((first, last)) = partitions.first().zip(partitions.last()) else { return Bytes::new() };
    let mut runs = vec![RUNS];
    let (mut next, mut rest) = (0, partitions);
    while let Some(begin) = rest.first() {
        let length = rest.iter().zip(begin.0..).take_while(|(p, at)| p.0 == *at).count();
        push_number(&mut runs, u64::from(begin.0.saturating_sub(next)));
        push_number(&mut runs, length as u64);
        next = begin.0.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        rest = rest.get(length..).unwrap_or_default();
    }
    let width = last.0.saturating_sub(first.0) as usize / 8 + 1;
    if runs.len() <= width + 4 {
        return runs.into();
    }
    let mut bitmap = vec![BITMAP];
    push_number(&mut bitmap, u64::from(first.0));
    let head = bitmap.len();
    bitmap.resize(head + width, 0);
    for partition in partitions {
        let at = partition.0.saturating_sub(first.0);
        if let Some(byte) = bitmap.get_mut(head + at as usize / 8) {
            *byte |= 1 << (at % 8);
        }
    }
    bitmap.into()
}

/// The partitions, all of a ring with `count` of them.
pub(crate) fn unpack_partitions(mut bytes: &[u8], count: PartitionCount) -> Result<Vec<Partition>, Fault> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(Vec::new()) };
    bytes = rest;
    let mut partitions = Vec::new();
    let fits = |n: u64| u32::try_from(n).ok().filter(|n| *n <= PARTITIONS_MAX).ok_or(Fault::Malformed);
    match *kind {
        RUNS => {
            let mut next = 0;
            while !bytes.is_empty() {
                let begin = next + fits(take_number(&mut bytes)?)?;
                next = begin + fits(take_number(&mut bytes)?)?;
                if next > count.get() {
                    return Err(Fault::Malformed);
                }
                partitions.extend((begin..next).map(Partition));
            }
        }
        BITMAP => {
            let first = fits(take_number(&mut bytes)?)?;
            let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
            let set = (first..).zip(bits).filter(|(_, set)| *set);
            partitions.extend(set.map(|(at, _)| Partition(at)).take(count.len() + 1));
        }
        _ => return Err(Fault::Malformed),
    }
    let known = partitions.iter().all(|p| count.contains(*p)) && partitions.len() <= count.len();
    if known { Ok(partitions) } else { Err(Fault::Malformed) }
}

/// Codes of two bits, the first in the lowest.
pub(crate) fn pack_codes(codes: &[u8]) -> Bytes {
    let byte = |four: &[u8]| four.iter().rev().fold(0, |byte, code| byte << 2 | (code & 3));
    codes.chunks(4).map(byte).collect()
}

/// Exactly `count` codes.
pub(crate) fn unpack_codes(bytes: &[u8], count: usize) -> Result<Vec<u8>, Fault> {
    if bytes.len() != count.div_ceil(4) {
        return Err(Fault::Malformed);
    }
    Ok(bytes.iter().flat_map(|byte| (0..4).map(move |at| byte >> (2 * at) & 3)).take(count).collect())
}
