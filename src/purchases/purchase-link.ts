/**
 * Makes the address at which people see a purchase: the shop's own page where a setting tells it,
 * with `{conference}` and `{purchase}` filled in, else the codes in this service's API.
 *
 * @param settings.publicUrl null: not known, so that there is no address to give.
 */
export function createPurchaseLink(settings: {
  purchaseUrl: string | null
  publicUrl: string | null
}): (conference: string, purchase: string) => string | null {
  const { purchaseUrl, publicUrl } = settings
  return (conference, purchase) => {
    if (purchaseUrl !== null) {
      return purchaseUrl
        .replaceAll('{conference}', encodeURIComponent(conference))
        .replaceAll('{purchase}', encodeURIComponent(purchase))
    }
    if (publicUrl === null) return null
    const base = publicUrl.replace(/\/+$/, '')
    return `${base}/v1/conferences/${conference}/purchases/${purchase}/vouchers`
  }
}
