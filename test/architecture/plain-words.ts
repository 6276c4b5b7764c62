/** A text that a person reads, and where it stands. */
export type Text = { file: string; text: string }

/**
 * Words and turns that this project does not use: readers whose first language is not English
 * stumble over them. Each has a plain counterpart in the glossary of docs/architecture.md.
 */
const FORBIDDEN: readonly RegExp[] = [
  /\banew\b/i,
  /\bwhatever\b/i,
  /\bwhoever\b/i,
  /\bnobody\b/i,
  /\bunder way\b/i,
  /\bgone on with\b/i,
  /\b(give|gives|given|gave|giving) up\b/i,
  /\b(is|are|was|were|be|being|been) told\b/i,
  /\btold (of|to|that)\b/i,
  /\bStripe (tells|told|says|said|knows|knew|wants)\b/,
  /\bbank wants\b/i,
  /\bwhat is [^.?]{1,60}, is\b/i,
  /\b(mend|mends|mended)\b/i,
  /\bastray\b/i,
  /\bstands? alone\b/i,
  /\bdoubled\b/i,
  /\bonce at most\b/i,
  /\bhas no more\b/i,
  /\bcannot be had\b/i,
  /\bask (once )?more\b/i,
  /\bin living hands\b/i,
  /\b(bury|buried|buries)\b/i,
  /\bwere left to\b/i,
  /\bleft undone\b/i,
  /\bso long (deliveries|as)\b/i,
  /\bpaid back so far\b/i,
  // One spelling: the pages have organizers.
  /\borganiser/i,
]

/** The texts that use a forbidden word, each with the word. */
export function hardWords(texts: readonly Text[]): { file: string; word: string; text: string }[] {
  return texts.flatMap(({ file, text }) =>
    FORBIDDEN.flatMap((pattern) => {
      const word = pattern.exec(text)?.[0]
      return word === undefined ? [] : [{ file, word, text }]
    }),
  )
}

const LITERAL = /'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g

/** String literals of a program that hold a sentence or a part of one: two spaces or more. */
export function sentencesIn(file: string, source: string): Text[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '')
  return [...code.matchAll(LITERAL)]
    .map(([, single, double, template]) => single ?? double ?? template ?? '')
    .filter((text) => (text.match(/ /g) ?? []).length >= 2)
    .map((text) => ({ file, text }))
}
