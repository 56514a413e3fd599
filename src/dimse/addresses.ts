import { BlockList, isIPv4 } from 'node:net'

/**
 * Whether an address lies in one of these networks, `10.0.0.0/8` or a single address.
 * @param networks undefined: any address is allowed
 */
export function allowsAddress(networks: readonly string[] | undefined, address: string): boolean {
  if (!networks) return true
  const allowed = new BlockList()
  for (const network of networks) {
    const [base, prefix] = network.split('/') as [string, string | undefined]
    const family = isIPv4(base) ? 'ipv4' : 'ipv6'
    if (prefix === undefined) allowed.addAddress(base, family)
    else allowed.addSubnet(base, Number(prefix), family)
  }
  // An IPv4 peer of a socket that listens for both has its address written as one of IPv6.
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '')
  return allowed.check(plain, isIPv4(plain) ? 'ipv4' : 'ipv6')
}
