/**
 * Text on lines no wider than `width`, further ones after `indent`. Line breaks in it stay, words are not broken: a path stays one
 * that can be copied.
 */
export const wrapped = (text: string, width: number, indent: string): ReadonlyArray<string> =>
  text.split("\n").flatMap((part, index) => {
    const lead = index === 0 ? (/^ */.exec(part)?.[0] ?? "") : indent
    const lines: Array<string> = []
    let line = lead
    let empty = true
    for (const word of part.trim().split(" ")) {
      if (!empty && line.length + 1 + word.length > width) {
        lines.push(line)
        line = indent
        empty = true
      }
      line = empty ? `${line}${word}` : `${line} ${word}`
      empty = false
    }
    return [...lines, line]
  })
