/** `bp_V1StGXR8Z5jdHi6BmyT7a` as `bp_V1StGX…`: enough to recognise it within one story. */
export function shortIds(text: string): string {
  return text.replace(/\b(bp|red|cs_test)_(\w{6})\w+/g, '$1_$2…')
}
