/** CRC-32 of the zip format, as a polynomial over GF(2): bit 31 is x^0. */
const polynomial = 0xedb88320

/** Product of two polynomials modulo that of CRC-32. */
const multiply = (a: number, b: number): number => {
  let product = 0
  let factor = b
  for (let bit = 31; bit >= 0; bit -= 1) {
    if ((a >>> bit) & 1) product ^= factor
    factor = factor & 1 ? (factor >>> 1) ^ polynomial : factor >>> 1
  }
  return product >>> 0
}

/** x to the power of 8 times `length`: what so many bytes do to the CRC before them. */
const shiftOf = (length: number): number => {
  let shift = 1 << 31
  let power = 1 << 23
  for (let left = length; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) shift = multiply(shift, power)
    power = multiply(power, power)
  }
  return shift
}

/** Joins the CRC-32 of parts that lie one behind the other, as zlib's crc32_combine does. */
export const makeCombiner = (): ((first: number, second: number, secondLength: number) => number) => {
  // All blocks of a file but the last have the same length.
  let known = 0
  let shift = shiftOf(0)
  return (first, second, secondLength) => {
    if (secondLength !== known) {
      known = secondLength
      shift = shiftOf(secondLength)
    }
    return (multiply(shift, first) ^ second) >>> 0
  }
}
