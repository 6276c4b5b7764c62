/**
 * Puts a text into the clipboard.
 *
 * @param text browsers let a page write only right after a press, so what must be fetched first is a promise.
 * @throws Error with a sentence for people, or what the promise throws.
 */
export async function copyText(text: string | Promise<string>): Promise<void> {
  try {
    if (typeof text === 'string') {
      await navigator.clipboard.writeText(text)
    } else {
      const content = text.then((found) => new Blob([found], { type: 'text/plain' }))
      await navigator.clipboard.write([new ClipboardItem({ 'text/plain': content })])
    }
  } catch (error) {
    await text
    throw new Error('The browser does not allow this page to copy.', { cause: error })
  }
}
