// Put beside the sources before the build in place of a generated file that the module
// archive lacks. It holds no eBPF object, so the AVX-512 collector (left out by the `noavx` tag)
// would refuse to load it.

package avx

var program = [...]byte{}
