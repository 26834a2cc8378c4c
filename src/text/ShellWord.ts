/**
 * Words for an unknown shell: sshd runs the login shell of the user, and users paste commands from messages. The quoting here
 * means the same to sh, bash, zsh, csh, tcsh and fish.
 */

/** One word, quoted. Not every shell can take a newline, and none NUL. */
export const shellWord = (word: string): string => {
  if (/^[A-Za-z0-9_./:@,+-]+$/.test(word)) return word
  // A backslash is one inside quotes for sh, and not for fish; csh looks for `!` even there. Both stand outside.
  const parts = word.match(/[^'\\!]+|['\\!]/g) ?? [""]
  return parts.map((part) => (/^['\\!]$/.test(part) ? `\\${part}` : `'${part}'`)).join("")
}

export const shellWords = (words: ReadonlyArray<string>): string => words.map(shellWord).join(" ")

/** An option with its value. A value that looks like an option is joined to it. */
export const optionWords = (option: string, value: string): ReadonlyArray<string> =>
  value.startsWith("-") ? [`${option}=${value}`] : [option, value]
