/** The central directory as the end records describe it. */
interface Directory {
  readonly entries: number
  readonly start: number
  readonly size: number
}

/**
 * Every byte that follows a zip's central directory (APPNOTE 4.3.14 to 4.3.16): no comment, one disk, the zip64
 * records only where a number does not fit. Since nothing is left open, a reader can compare it as a whole.
 */
export const endRecords = (directory: Directory): Buffer => {
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(Math.min(directory.entries, 0xffff), 8)
  end.writeUInt16LE(Math.min(directory.entries, 0xffff), 10)
  end.writeUInt32LE(Math.min(directory.size, 0xffff_ffff), 12)
  end.writeUInt32LE(Math.min(directory.start, 0xffff_ffff), 16)
  const fits = directory.entries < 0xffff && directory.size < 0xffff_ffff && directory.start < 0xffff_ffff
  if (fits) return end

  const zip64 = Buffer.alloc(76)
  zip64.writeUInt32LE(0x06064b50, 0)
  zip64.writeBigUInt64LE(44n, 4)
  zip64.writeUInt16LE(versionMadeBy, 12)
  zip64.writeUInt16LE(45, 14)
  zip64.writeBigUInt64LE(BigInt(directory.entries), 24)
  zip64.writeBigUInt64LE(BigInt(directory.entries), 32)
  zip64.writeBigUInt64LE(BigInt(directory.size), 40)
  zip64.writeBigUInt64LE(BigInt(directory.start), 48)
  zip64.writeUInt32LE(0x07064b50, 56)
  zip64.writeBigUInt64LE(BigInt(directory.start + directory.size), 64)
  zip64.writeUInt32LE(1, 72)
  return Buffer.concat([zip64, end])
}

/** Unix, version 6.3 of the specification: what the entries say as well. */
export const versionMadeBy = (3 << 8) | 63
