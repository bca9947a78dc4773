// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {SluiceToken} from "../SluiceToken.sol";
import {IERC20Mineable} from "../interfaces/IERC20Mineable.sol";
import {IERC20Registrable} from "../interfaces/IERC20Registrable.sol";
import {Vm} from "./Vm.t.sol";

/// @dev A token with small numbers, people with and without roles, and how they sign and mine.
abstract contract TokenTest {
    // solhint-disable-next-line const-name-snakecase
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant CAP = 1_000_000 ether;
    uint256 internal constant LIMIT = 900_000 ether;
    uint256 internal constant PERIOD = 1 days;
    uint256 internal constant GRANT = 100 ether;
    uint256 internal constant GRANT_BUDGET = 250 ether;
    uint256 internal constant REWARD = 50 ether;
    uint256 internal constant ALICE_KEY = 0xa11ce;
    uint256 internal constant BOB_KEY = 0xb0b;
    uint48 internal constant ADMIN_DELAY = 2 days;
    bytes32 internal constant REASON = "payroll";

    bytes32 internal constant REGISTRATION_TYPEHASH = keccak256(
        "Registration(address account,string name,uint256 nonce,uint256 deadline)"
    );
    bytes32 internal constant PERMIT_TYPEHASH = keccak256(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    );

    address internal immutable admin = address(0xad);
    address internal immutable minter = address(0x3171);
    address internal immutable pauser = address(0x9a05e1);
    address internal immutable unpauser = address(0x09a05e);
    address internal immutable alice = vm.addr(ALICE_KEY);
    address internal immutable bob = vm.addr(BOB_KEY);
    address internal immutable carol = address(0xca401);

    SluiceToken internal token;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vm.roll(100);
        token = _deploy(_terms());
        _giveRoles(token);
    }

    function _terms() internal view returns (SluiceToken.Terms memory) {
        return
            SluiceToken.Terms({
                name: "Sluice",
                symbol: "SLC",
                cap: CAP,
                admin: admin,
                adminDelay: ADMIN_DELAY,
                mintPeriod: PERIOD,
                grants: IERC20Registrable.Grants({amount: GRANT, budget: GRANT_BUDGET}),
                mining: IERC20Mineable.MiningRules({
                    reward: REWARD,
                    halvingInterval: 6,
                    retargetInterval: 3,
                    epochSeconds: 60,
                    target: 2 ** 253,
                    minimumTarget: 2 ** 251,
                    maximumTarget: 2 ** 254 - 1
                })
            });
    }

    function _deploy(SluiceToken.Terms memory terms) internal returns (SluiceToken) {
        return new SluiceToken(terms);
    }

    function _giveRoles(SluiceToken to) internal {
        vm.startPrank(admin);
        to.grantRole(to.MINTER_ROLE(), minter);
        to.grantRole(to.PAUSER_ROLE(), pauser);
        to.grantRole(to.UNPAUSER_ROLE(), unpauser);
        to.setMintLimit(minter, LIMIT);
        vm.stopPrank();
    }

    function _pause() internal {
        vm.prank(pauser);
        token.pause();
    }

    function _unpause() internal {
        vm.prank(unpauser);
        token.unpause();
    }

    function _mint(address to, uint256 amount) internal {
        vm.prank(minter);
        token.mint(to, amount, REASON);
    }

    /// @dev The first nonce from `start` on that solves the present challenge.
    function _solve(SluiceToken at, address beneficiary, uint256 start) internal view returns (uint256 nonce) {
        nonce = start;
        while (uint256(at.digestOf(beneficiary, nonce)) > at.target()) ++nonce;
    }

    /// @dev A nonce from `start` on that does not solve it.
    function _miss(address beneficiary, uint256 start) internal view returns (uint256 nonce) {
        nonce = start;
        while (uint256(token.digestOf(beneficiary, nonce)) <= token.target()) ++nonce;
    }

    function _mine(address beneficiary) internal returns (uint256 nonce) {
        nonce = _solve(token, beneficiary, 0);
        token.mine(beneficiary, nonce);
    }

    function _signRegistration(
        uint256 key,
        address account,
        string memory name,
        uint256 nonce,
        uint256 deadline
    ) internal view returns (bytes memory) {
        bytes32 structHash = keccak256(
            abi.encode(REGISTRATION_TYPEHASH, account, keccak256(bytes(name)), nonce, deadline)
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _typedDataHash(structHash));
        return abi.encodePacked(r, s, v);
    }

    function _signPermit(
        uint256 key,
        address spender,
        uint256 value,
        uint256 deadline
    ) internal view returns (uint8 v, bytes32 r, bytes32 s) {
        address owner = vm.addr(key);
        bytes32 structHash = keccak256(
            abi.encode(PERMIT_TYPEHASH, owner, spender, value, token.nonces(owner), deadline)
        );
        return vm.sign(key, _typedDataHash(structHash));
    }

    function _typedDataHash(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
    }

    /// @dev A number from `least` to `most`, so that a fuzzed value is used rather than thrown away.
    function _bound(uint256 value, uint256 least, uint256 most) internal pure returns (uint256) {
        uint256 size = most - least;
        return size == type(uint256).max ? value : least + (value % (size + 1));
    }
}
