/**
 * Words for a shell that we do not know: sshd hands a command line to the login shell of the user, and people paste what
 * messages tell them into theirs. It is sh, bash or zsh, csh or tcsh on FreeBSD, fish for somebody else. What is used here
 * means the same to all of them.
 */

/** One word, which the shell takes as it stands. A newline cannot be told to every shell, and NUL to none. */
export const shellWord = (word: string): string => {
  if (/^[A-Za-z0-9_./:@,+-]+$/.test(word)) return word
  // A backslash is one inside quotes for sh, and not for fish; csh looks for `!` even there. Both stand outside.
  const parts = word.match(/[^'\\!]+|['\\!]/g) ?? [""]
  return parts.map((part) => (/^['\\!]$/.test(part) ? `\\${part}` : `'${part}'`)).join("")
}

/** A command line. */
export const shellWords = (words: ReadonlyArray<string>): string => words.map(shellWord).join(" ")

/** An option with its value, as the command line takes it: a value that looks like an option is joined to it. */
export const optionWords = (option: string, value: string): ReadonlyArray<string> =>
  value.startsWith("-") ? [`${option}=${value}`] : [option, value]
