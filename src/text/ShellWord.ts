/** One word, quoted alike for sh, bash, zsh, csh, tcsh and fish: sshd runs any login shell. Some take no newline. */
export const shellWord = (word: string): string => {
  if (/^[A-Za-z0-9_./:@,+-]+$/.test(word)) return word
  // Outside of quotes: a backslash, which fish escapes with inside, and `!`, which csh expands even there.
  const parts = word.match(/[^'\\!]+|['\\!]/g) ?? [""]
  return parts.map((part) => (/^['\\!]$/.test(part) ? `\\${part}` : `'${part}'`)).join("")
}

export const shellWords = (words: ReadonlyArray<string>): string => words.map(shellWord).join(" ")

/** An option with its value. A value that looks like an option is joined to it. */
export const optionWords = (option: string, value: string): ReadonlyArray<string> =>
  value.startsWith("-") ? [`${option}=${value}`] : [option, value]
