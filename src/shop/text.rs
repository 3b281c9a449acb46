//! Numbers as text, appended to a payload without an allocation.

/// Appends a number in decimal.
#[inline]
pub(super) fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends a number of thousandths as a decimal fraction.
pub(super) fn push_thousandths(out: &mut Vec<u8>, value: u64) {
    push_decimal(out, value / 1000);
    if !value.is_multiple_of(1000) {
        out.push(b'.');
        [value / 100, value / 10, value].iter().for_each(|digit| out.push(b'0' + (digit % 10) as u8));
    }
}

/// Appends 64 bits as 16 hex digits.
#[inline]
pub(super) fn push_hex(out: &mut Vec<u8>, value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits: [u8; 16] = std::array::from_fn(|at| DIGITS[(value >> (60 - 4 * at)) as usize & 15]);
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_the_standard_library_writes_them() {
        for value in [0, 7, 10, 1_795_246_458_716_866, u64::MAX] {
            let (mut decimal, mut hex) = (Vec::new(), Vec::new());
            push_decimal(&mut decimal, value);
            push_hex(&mut hex, value);
            assert_eq!(decimal, value.to_string().into_bytes());
            assert_eq!(hex, format!("{value:016x}").into_bytes());
        }
        let mut out = Vec::new();
        [12_005, 3_000, 40].iter().for_each(|value| push_thousandths(&mut out, *value));
        assert_eq!(out, b"12.00530.040");
    }
}
