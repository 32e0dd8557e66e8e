//! Known answers: a public key and a signature of one message for each algorithm, to test whether a
//! host's cryptography is reliable. The private keys were deleted.
//!
//! Unpadded base64url; keys are SubjectPublicKeyInfo in DER, signatures are as in a token.

use crate::crypto::Algorithm;

/// The signed message.
pub(super) const MESSAGE: &[u8] = b"usher: a known answer";

/// A key and its signature of [`MESSAGE`].
pub(super) struct KnownAnswer {
    pub(super) algorithm: Algorithm,
    pub(super) spki: &'static str,
    pub(super) signature: &'static str,
}

/// One for each algorithm that a host may be able to check.
pub(super) const ALL: [KnownAnswer; 6] = [
    KnownAnswer { algorithm: Algorithm::RS256, spki: RSA_KEY, signature: RS256_SIGNATURE },
    KnownAnswer { algorithm: Algorithm::RS384, spki: RSA_KEY, signature: RS384_SIGNATURE },
    KnownAnswer { algorithm: Algorithm::RS512, spki: RSA_KEY, signature: RS512_SIGNATURE },
    KnownAnswer { algorithm: Algorithm::ES256, spki: P256_KEY, signature: ES256_SIGNATURE },
    KnownAnswer { algorithm: Algorithm::ES384, spki: P384_KEY, signature: ES384_SIGNATURE },
    KnownAnswer { algorithm: Algorithm::ES512, spki: P521_KEY, signature: ES512_SIGNATURE },
];

const RSA_KEY: &str = "\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAmzhxlQ07dgrQ60WdHVQZsYTP5DSlQpf9tucgyUnhySr_fLT4XP\
    qDNy9XJIjJdF6GJw0ErZg_BzntCjwdzEHgoDwaAx9DXB7-4eRqMmYe1nnvKO8b9C9rEkaCo653dnKAZ_qRR4PPKUr9rZw-\
    euCa4WoGnBtMsnyPf8vZm_xusuMgw6e8IX2KhkDxwXOt4VGboRDS8MPkfUBHJTfICuiNM-0aUh2fzi0jMwdRE-RA47J9v_\
    _H8VUOQAQvZRJ5vBxfdPSTgqreLVx3OS1s1eLpLWwBZFnAzKJ6nHp7-HshG0PuLnqJTOaW5S5kY7ezdlGfo7xwyjmqOdYJ\
    ruATPPF4EwIDAQAB";
const RS256_SIGNATURE: &str = "\
    gC1qhjKJEdB1skpjOIWoVJjy1OQlidHLZO8bDoXE4gnvBLHKGUHxtjwZEr2hrDiTgarHeohKhMrEf7Hcw96fLWhIhuthoe\
    42gblVTkzLnPnpBOgLMmqej8gFoI4_y0oERPyQZvumDLuWV293d94Bma6671BnZFmJ6Z8exwG3JR04qS7rwozV8NDgOY4w\
    etBpDjIkerXt6GorOzboFYmyGy9TPEC2p1CHBlv9YbUmBnvnr-JsxiUN19oyK66yUthj5U9UZHC6Ak7zZRA7h6N9LZUD1N\
    dZPvuX3xdbp9l_WhYeN5UoBX3pxEE_BRiUtvbf2B5_Tr7qUEn15U7zAodSmw";
const RS384_SIGNATURE: &str = "\
    cO-V36rL9k77wrZKRtxQ9mLSzGT-cp2lWP1DsLFwkWzQ_dHund1x8iKJsxJo_SXCZ-9aZEoXvpDghdbVeXciRs_Vu2IasA\
    Amm1MS8c1wZIpjzQrsSJB0KfSIUg2_OdbdblTLd3WH4nDQ9ElbBq8WGYhpY44yaC1SKxQ3T6vV_tRPityVDCj0NanQuyuL\
    -xLIGLkZlbK7rt79Qbw4todb6EUnbC4oCks9Rklho_a0Lp1N7qA5IiFjmzPQJw8gJ0ELSk3aqfSFJTmMoM2GdTWBWXLOyL\
    BTxtOeB_nUVU8YPfU-M2VddIQfkIE--dA9OWTUE87P2gMPIqcyi7AhlN_lOw";
const RS512_SIGNATURE: &str = "\
    WDquOrmLwC8QyagT7OcsEUA7NsAc8gbYLfeIaNFvvEOcEVzMvQv7AUTnH59u776CYikTz0xtPSAldzAzNBi9xa-qtFy30v\
    IZ346js1srpsjWtH7xUor8-S-L2ZCkCowrDX-s4JwGuWz_-gABc7dN2qHpnlQdIY2M5p5i8artI7qSr_VqAwkrzGcRzVjz\
    nEsnXcFF91AXdDmX7A46rwt4tUrY7w3A8JcZnufi7pvKmy2OgqryHukA8m3WW_X2ri6ewlYCgIi5d9BCSb_3gl1h8F3JbZ\
    V9XB9xmiEBPqGU0VBmrC1YFayxOTGna4_Z9-xoWUmRjnlmLb4DDxYbZTB7og";
const P256_KEY: &str = "\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEcVDoHz6X3b3LlnNU0tJXNzUVDn9bi5K1p_scieXiNdk7LQii1AnUjL0WuF\
    1Dyf7MGrl-_TMazpOniKfETHDIHg";
const ES256_SIGNATURE: &str = "\
    5qD3CtTpMSPuQXD_MKcyr6fQxE-oEswB7CWRDxhvTbWB4q3VBh7A1LUrrmrWcMnAhNM2LgzSrj7PfPMW5CDCmw";
const P384_KEY: &str = "\
    MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEdIYjH890BmONN0DiNswzPIQRrNNEJp-nPLsZkaprhkkUaCQ4pTKw_cBbbKZfr4\
    41GIkfY87KvE7dxPLngoun4bAcVE-O_lwufFm1m7DK2QfU2PL0CbwMJIWC1PJpT0lL";
const ES384_SIGNATURE: &str = "\
    9bSSx077aVlLHOdJRLV4LIlL9BxOKpxlW8mZwEJfXcgW6zA-FOTxXs3W6w4S9KgujABxT3WIR53Xbt0kcmj-m550YZGaCL\
    3kNFlgphTPjyUCMKnkuEabpE9wos5av7yd";
const P521_KEY: &str = "\
    MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQB5Mya55ZjhYhzbxJNdNsK0o4DGbg-VwhoY3BKb8FXGf8M2PNgd9PsiK9bYj\
    edmyG0MW6zXaKblYCmc-iYYmuYRKoBD4G7jmB2hMqFaTQPe-KOOgY96wy-8SZ6CrquvCFr-v5zG0-yWODVcp06-m1Qo33x\
    5FPYKjOYdaTWpKcl3Q-nLVQ";
const ES512_SIGNATURE: &str = "\
    AH-BQRb6zBMnGpn57NJVwE5AN37GFzLNQITbHId7laOFtt9KdD8H4dcu2GkeC_kI3aP8hHH-LvOEvPTI0GH_yZf_AQfGtk\
    s8Cxz6zm0STFSNIOOal5vgYGagzkN2pgPTZ6SqyNzV_fiQxbJenpLgP_gNwtBqU8VqzaSFrpp0CbKZz3Xq";
