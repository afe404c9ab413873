//! Numbers in as few bytes as they need (LEB128), and reading them back from bytes that anybody may have written.

/// What a decoder says of bytes that no encoder wrote.
pub(super) type Decoded<T> = std::result::Result<T, String>;

/// Appends a number: seven bits a byte, the lowest first; the top bit says that more follow.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// Appends the way from `from` to `to`, in whichever direction: small if they are close.
pub(super) fn put_step(out: &mut Vec<u8>, from: u64, to: u64) {
    let step = to.wrapping_sub(from).cast_signed();
    put(out, (step << 1 ^ step >> 63).cast_unsigned());
}

/// Appends bytes with their number before them.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The part of some bytes that is still to be read. It does not hold them, so that who holds them can hold it, too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    at: usize,
    end: usize,
}

impl Part {
    /// All of `bytes`.
    pub(super) fn all(bytes: &[u8]) -> Self {
        Self { at: 0, end: bytes.len() }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.end - self.at
    }

    /// Fails unless all of it was read.
    pub(super) fn end(&self) -> Decoded<()> {
        if self.left() == 0 { Ok(()) } else { Err("more bytes than rows".into()) }
    }

    /// Splits the next `length` bytes off.
    pub(super) fn split(&mut self, length: u64) -> Decoded<Self> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.left()).ok_or("a length beyond its end")?;
        let first = Self { at: self.at, end: self.at + length };
        self.at = first.end;
        Ok(first)
    }

    /// The next `length` bytes.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8], length: u64) -> Decoded<&'a [u8]> {
        let part = self.split(length)?;
        bytes.get(part.at..part.end).ok_or_else(|| "a length beyond its end".into())
    }

    /// The next bytes, as many as the array has.
    pub(super) fn array<const N: usize>(&mut self, bytes: &[u8]) -> Decoded<[u8; N]> {
        self.take(bytes, N as u64)?.try_into().map_err(|_| "a length beyond its end".into())
    }

    /// The next byte.
    pub(super) fn byte(&mut self, bytes: &[u8]) -> Decoded<u8> {
        self.array(bytes).map(|[byte]| byte)
    }

    /// The next number, in the one form that it has.
    pub(super) fn number(&mut self, bytes: &[u8]) -> Decoded<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(bytes)?;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                break;
            }
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("an impossible number".into())
    }

    /// The next number, of a smaller type.
    pub(super) fn small<T: TryFrom<u64>>(&mut self, bytes: &[u8]) -> Decoded<T> {
        T::try_from(self.number(bytes)?).map_err(|_| "an impossible number".into())
    }

    /// Where the next step leads from `from`.
    pub(super) fn step(&mut self, bytes: &[u8], from: u64) -> Decoded<u64> {
        let step = self.number(bytes)?;
        Ok(from.wrapping_add(step >> 1 ^ (step & 1).wrapping_neg()))
    }

    /// The next bytes, with their number before them.
    pub(super) fn bytes<'a>(&mut self, bytes: &'a [u8], most: usize) -> Decoded<&'a [u8]> {
        let length = self.number(bytes)?;
        if length > most as u64 {
            return Err("a length beyond its limit".into());
        }
        self.take(bytes, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(bytes: &[u8]) -> Decoded<u64> {
        let mut part = Part::all(bytes);
        let number = part.number(bytes)?;
        part.end()?;
        Ok(number)
    }

    proptest! {
        #[test]
        fn numbers_and_steps_come_back(value: u64, from: u64, shift in 0..64_u32) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(number(&bytes), Ok(value));
            bytes.clear();
            put_step(&mut bytes, from, value);
            prop_assert_eq!(Part::all(&bytes).step(&bytes, from), Ok(value));
        }

        #[test]
        fn a_number_has_one_form(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(value) = number(&bytes) {
                let mut again = Vec::new();
                put(&mut again, value);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn small_steps_are_small() {
        for (from, to) in [(7, 6), (7, 8), (0, u64::MAX)] {
            let mut bytes = Vec::new();
            put_step(&mut bytes, from, to);
            assert_eq!(bytes.len(), 1, "{from} {to}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let mut ten = vec![0xff; 9];
        ten.push(2);
        for bad in [&[][..], &[0x80], &[0x80, 0], &ten, &[0xff; 11]] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
        let bytes = [3, 1, 2, 3];
        assert_eq!(Part::all(&bytes).bytes(&bytes, 3), Ok(&bytes[1..]));
        assert!(Part::all(&bytes).bytes(&bytes, 2).is_err() && Part::all(&bytes[..3]).bytes(&bytes[..3], 3).is_err());
        let mut part = Part::all(&bytes);
        assert!(part.split(5).is_err() && part.split(u64::MAX).is_err() && part.split(4).is_ok());
    }
}
